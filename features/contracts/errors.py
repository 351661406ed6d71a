"""The root of every error that Marquee raises on purpose."""


class MarqueeError(Exception):
    """An error whose message names the object, the value, what was expected and the way out.

    Commands print it without a traceback and exit with 2; everything else is a defect and keeps its traceback.
    """


class ContractError(MarqueeError):
    """Data at a boundary (a file, a frame, a bundle) breaks the contract that the message names."""


class UnavailableError(MarqueeError):
    """A service behind us (Postgres, Kafka, MLflow) cannot be reached now; trying again later may succeed."""
