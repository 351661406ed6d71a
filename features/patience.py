"""Going on through outages: what fails because a service is away is tried again, until we are told to stop."""

import threading
from collections.abc import Callable
from typing import Final, TypeVar

import structlog
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from features.contracts.errors import UnavailableError

log = structlog.get_logger()
T = TypeVar("T")

LONGEST_WAIT_S: Final = 2
"""Longest pause between two attempts at a service that is away: landing goes on within seconds of its return."""


class Patience:
    """Repeats attempts until told to stop.

    Parameters
    ----------
    stop
        Ends waiting: the attempt's error is raised then.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    @property
    def stopped(self) -> bool:
        """Return whether we were told to stop."""
        return self._stop.is_set()

    def until_done(self, attempt: Callable[[], T], *, on_failure: Callable[[], None] = lambda: None) -> T:
        """Return what an attempt gives, repeated while a service is away.

        Parameters
        ----------
        attempt
            What to do.
        on_failure
            Done after each failure, before the next attempt.

        Raises
        ------
        UnavailableError
            If we were told to stop meanwhile.
        """

        def before_sleep(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            log.warning("waiting for a service", attempt=state.attempt_number, reason=str(error))
            on_failure()

        retrying = Retrying(
            retry=retry_if_exception_type(UnavailableError),
            wait=wait_random_exponential(multiplier=0.1, max=LONGEST_WAIT_S),
            stop=stop_when_event_set(self._stop),
            sleep=sleep_using_event(self._stop),
            before_sleep=before_sleep,
            reraise=True,
        )
        return retrying(attempt)
