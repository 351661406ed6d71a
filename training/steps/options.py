"""What a person may choose for a training run; written by its first step, read by all others."""

from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from training.steps.state import RunError, RunFolder, write_atomically

FILE: Final = "options.json"

MIN_EVENTS: Final = 1000
"""Fewer interactions than this teach nothing that popularity does not say: the run is skipped."""


class RunOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of one training run; the limits are those of the form in Airflow.

    Attributes
    ----------
    window_days
        Days of history to train on, back from `until`, or from now; None = all there is.
    since, until
        Only interactions known at or after the one, only what was known before the other; None = all there is.
    factors
        Latent dimensions of ALS.
    exclude_seen
        Whether items that a user had are left out of lists; off where people come back for the same things.
    promote
        Whether the champion alias may move when the gate says `promoted`.
    min_events
        With fewer interactions in the snapshot the run is skipped.
    seed
        Of every generator in the run: one seed and one snapshot give one model, unless `tune_minutes` is set.
    tune_trials
        Trials of a search of better settings before fitting; 0 = the default settings.
    tune_minutes
        No trial begins later than this after the search began; None = no limit. What is found then depends on the
        machine.
    """

    window_days: Annotated[int, Meta(ge=1, le=3650)] | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None
    until: Annotated[datetime, Meta(tz=True)] | None = None
    factors: Annotated[int, Meta(ge=8, le=512)] = 64
    exclude_seen: bool = True
    promote: bool = True
    min_events: Annotated[int, Meta(ge=1)] = MIN_EVENTS
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    tune_trials: Annotated[int, Meta(ge=0, le=1000)] = 0
    tune_minutes: Annotated[int, Meta(ge=1, le=1440)] | None = None

    def known_range(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """Return the half-open range of `known_at` that is trained on; None = open.

        Raises
        ------
        RunError
            If the range is said twice, or is empty.
        """
        if self.window_days is None:
            since = self.since
        elif self.since is None:
            since = _days_before(self.until or now, self.window_days)
        else:
            raise RunError("options window_days and since both say where the data begin: give one of them")
        if since is not None and self.until is not None and since >= self.until:
            raise RunError(
                f"options since {since.isoformat()} and until {self.until.isoformat()}: nothing lies between"
            )
        return since, self.until


def _days_before(at: datetime, days: int) -> datetime:
    try:
        return at - timedelta(days=days)
    except OverflowError:
        raise RunError(
            f"options window_days {days} and until {at.isoformat()}: the window would begin before the year 1"
        ) from None


def write_options(run: RunFolder, options: RunOptions) -> None:
    """Keep the options with the run's files."""
    run.path.mkdir(parents=True, exist_ok=True)
    write_atomically(run.path / FILE, msgspec.json.format(msgspec.json.encode(options)))


def has_options(run: RunFolder) -> bool:
    """Return whether the run's options are written down."""
    return (run.path / FILE).exists()


def read_options(run: RunFolder) -> RunOptions:
    """Return the options that the run's first step wrote.

    Raises
    ------
    RunError
        If they are missing or malformed.
    """
    file = run.path / FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=RunOptions)
    except FileNotFoundError:
        raise RunError(
            f"run {run.run!r}: no {FILE} in {run.path}. Run `python -m training step snapshot --run {run.run}` first."
        ) from None
    except msgspec.DecodeError as error:
        raise RunError(f"{file}: {error}. Start another run: options may not change within one.") from error
