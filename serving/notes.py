"""Entries of the audit for what was done without a connection at hand: they wait for Postgres, in order and bounded."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from features import audit
from features.audit import Deed
from features.contracts.errors import MarqueeError, UnavailableError
from features.db.connection import connect
from features.settings import Settings
from serving.boundary import done
from serving.metrics import Metrics
from serving.waiting import is_done

log = structlog.get_logger(__name__)

QUEUE_LIMIT: Final = 1_000
WAIT_S: Final = 1.0
"""How long who did something waits for its entry: a few milliseconds, but for Postgres that hangs."""
REST_S: Final = 1.0
_STATEMENT_S: Final = 3.0

Write = Callable[[Deed], None]
Open = Callable[[], AbstractContextManager[Write]]
"""Gives what writes entries, as long as it is open; blocking, `UnavailableError` while Postgres is away."""


@dataclass(frozen=True, eq=False, slots=True)
class _Note:
    """An entry, and what is done once it was tried to write it."""

    deed: Deed
    tried: "asyncio.Future[None]"


class Notes:
    """A bounded queue of entries on their way to Postgres; while that is away they wait.

    Parameters
    ----------
    open_audit
        Opened for all entries that wait.
    executor
        One thread, which nothing else holds up.
    metrics
        Counts the outcomes `written`, `dropped` and `refused`.
    """

    def __init__(self, open_audit: Open, executor: Executor, metrics: Metrics, limit: int = QUEUE_LIMIT) -> None:
        self._open = open_audit
        self._executor = executor
        self._metrics = metrics
        self._limit = limit
        self._queue: deque[_Note] = deque()
        self._under_way: deque[_Note] = deque()
        self._attempt: asyncio.Task[None] | None = None
        self._offered = asyncio.Event()
        self._away = False

    async def add(self, deed: Deed) -> None:
        """Queue an entry and return once it is written, so that who looks finds it, or once that takes long.

        When the queue is full it is dropped, counted and logged: what was done is done.
        """
        if len(self._queue) >= self._limit:
            self._lose(deed, "dropped", f"{self._limit} entries wait for Postgres")
            return
        note = _Note(deed, asyncio.get_running_loop().create_future())
        self._queue.append(note)
        self._offered.set()
        if not self._away:
            await is_done(note.tried, WAIT_S)

    async def run(self) -> None:
        """Write what is added, until cancelled; what was not written by then is for `flush`."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            if not await self._written():
                await asyncio.sleep(REST_S)
                self._offered.set()

    async def flush(self) -> None:
        """Write what still waits, in one attempt; what does not go then, or in time, is dropped and counted."""
        try:
            while await self._written() and self._queue:
                pass
        finally:
            # Of those under way one may be there.
            for note in (*self._under_way, *self._queue):
                self._lose(note.deed, "dropped", "the server ends")
            self._queue.clear()

    async def _written(self) -> bool:
        """Return whether what waited is written; an attempt that is under way goes on, whoever waits for it."""
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.create_task(self._try())
        await asyncio.shield(self._attempt)
        return not self._away

    async def _try(self) -> None:
        batch, self._queue = self._queue, deque()
        tried, self._under_way = tuple(batch), batch
        in_thread = partial(asyncio.get_running_loop().run_in_executor, self._executor, self._write, batch)
        if not await done(in_thread, "audit_defect") and batch:
            self._lose(batch.popleft().deed, "dropped", "a defect")
        self._away = bool(batch)
        self._queue.extendleft(reversed(batch))
        batch.clear()
        for note in tried:
            if not note.tried.done():
                note.tried.set_result(None)

    def _write(self, batch: deque[_Note]) -> None:
        """Write entries in order, each of which leaves the batch then; blocking."""
        if not batch:
            return
        try:
            with self._open() as write:
                while batch:
                    self._write_one(write, batch[0].deed)
                    batch.popleft()
        except UnavailableError as error:
            log.warning("audit_waits", count=len(batch), error=str(error))

    def _write_one(self, write: Write, deed: Deed) -> None:
        try:
            write(deed)
        except UnavailableError:
            raise
        except MarqueeError as error:
            self._lose(deed, "refused", str(error))
        else:
            self._count("written")

    def _lose(self, deed: Deed, outcome: str, why: str) -> None:
        self._count(outcome)
        log.warning(
            "audit_not_written", action=deed.action, target=deed.target, correlation_id=deed.correlation_id, error=why
        )

    def _count(self, outcome: str) -> None:
        self._metrics.audit.labels(outcome).inc()


def audit_of(settings: Settings) -> Open:
    """Return what opens the audit of a database, on a connection of its own."""

    @contextmanager
    def opened() -> Iterator[Write]:
        with connect(settings, name="audit", statement_timeout_s=_STATEMENT_S) as connection:
            yield partial(audit.note, connection)

    return opened
