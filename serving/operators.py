"""What operators may do by API: their blocking functions, each in a thread, on a connection of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import structlog

from features.admin.dead_letters import LetterStateError, NoSuchDeadLetterError
from features.contracts.errors import ContractError, MarqueeError, UnavailableError
from features.contracts.event_problems import EventError
from features.db.connection import Connection, RefusedError, connect
from features.settings import Settings
from serving.problems import ProblemError, unavailable
from serving.replaying import NotRecordedError

log = structlog.get_logger(__name__)

AT_ONCE: Final = 2
"""They share the machine with requests, and Postgres with landing."""

Answer = TypeVar("Answer")
Job = Callable[[Connection], Answer]


class Operators:
    """Runs operators' jobs beside the requests, never on their connections.

    Parameters
    ----------
    settings
        Where Postgres and Kafka are.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._executor = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="operators")
        self._under_way = 0

    async def run(self, job: Job[Answer], *, timeout_s: float) -> Answer:
        """Return what a job returns.

        Parameters
        ----------
        job
            Gets a connection in no transaction.
        timeout_s
            Longest time of one statement, in seconds.

        Raises
        ------
        ProblemError
            503 if Postgres or Kafka is away, or others are under way; 404, 409 or 422 where the job refuses.
        """
        if self._under_way >= AT_ONCE:
            raise unavailable(f"{AT_ONCE} jobs of operators are under way; try again when one is done")
        self._under_way += 1
        running = asyncio.get_running_loop().run_in_executor(self._executor, self._run, job, timeout_s)
        # Not before the thread is done: a caller that goes away leaves it running.
        running.add_done_callback(self._done)
        try:
            return await asyncio.shield(running)
        except MarqueeError as error:
            raise _problem(error) from None

    def close(self) -> None:
        """Wait for the jobs under way."""
        self._executor.shutdown()

    def _run(self, job: Job[Answer], timeout_s: float) -> Answer:
        with connect(self.settings, name="operators", statement_timeout_s=timeout_s) as connection:
            return job(connection)

    def _done(self, running: "asyncio.Future[Any]") -> None:
        self._under_way -= 1
        if not running.cancelled():
            running.exception()


def _problem(error: MarqueeError) -> ProblemError:
    """Return the refusal that an error becomes; a driver's words stay in the log."""
    match error:
        case UnavailableError():
            log.warning("operators_job_failed", error=str(error))
            return unavailable("Postgres or Kafka does not answer now; what was done stays done, and may be repeated")
        case NoSuchDeadLetterError() | NotRecordedError():
            return ProblemError(404, str(error))
        case LetterStateError():
            return ProblemError(409, str(error))
        case EventError():
            errors = [{"path": path, "message": message} for path, message in error.problems]
            return ProblemError(422, f"landing would refuse it: {error.code}", code=error.code, errors=errors)
        case RefusedError():
            log.warning("operators_job_refused", error=str(error))
            return ProblemError(422, "the database refuses a value of the request")
        case _:
            return ProblemError(422 if isinstance(error, ContractError) else 409, str(error))
