"""The boundary of background tasks: what they do not expect shows in the log, and ends none of them."""

from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)


async def done(step: Callable[[], Awaitable[object]], defect: str, **said: object) -> bool:
    """Return whether a step was done; whatever it raises is a defect, which is logged.

    Parameters
    ----------
    step
        Handles itself what is to be expected, such as a service that is away.
    defect, said
        Name of the line in the log, and what else it says.
    """
    try:
        await step()
    except Exception:  # the one place: a defect must show, and must not end the task that goes on after this step
        log.exception(defect, **said)
        return False
    return True
