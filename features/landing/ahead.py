"""Reading ahead: a thread reads and decodes the next batch while the last one is being written.

Only this thread touches the Kafka consumer. At most one batch waits and one is being collected, so that memory is
bounded however far behind landing is; while Postgres is away nothing is read, and the group hears that we live.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from features.contracts.errors import MarqueeError
from features.failpoints import failpoint
from features.landing.placing import HaltedError
from features.landing.protocol import Batch, Span, decode
from features.landing.reader import Reader
from features.landing.rows import Decoder
from features.landing.sessions import Session
from features.patience import Patience

log = structlog.get_logger()

MEMBERSHIP_S: Final = 2.0
"""How often the group hears of us while nothing can be read; it waits two minutes before it gives up."""


class ReadAhead:
    """Batches from a reader's thread, in order; each is to be followed by `done` before the next is taken.

    Parameters
    ----------
    open_reader
        Makes the reader; called in the thread, and again after a failure to do so.
    session
        The thread's own session of the database, in which it asks where partitions stand.
    decoders
        How to read topics that do not carry events of ours.
    patience
        Repeats what fails because a service is away.
    until_caught_up
        Whether to end once everything was read.
    """

    def __init__(
        self,
        open_reader: Callable[[], Reader],
        session: Session,
        decoders: Mapping[str, Decoder],
        patience: Patience,
        *,
        until_caught_up: bool,
    ) -> None:
        self._open_reader = open_reader
        self._session = session
        self._decoders = decoders
        self._patience = patience
        self._until_caught_up = until_caught_up
        self._changed = threading.Condition()
        self._waiting: Batch | None = None
        self._busy = False
        self._misplaced = False
        self._landed: list[Span] = []
        self._ended = False
        self._failure: BaseException | None = None
        self._cluster_id = ""
        self.halted = 0
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)

    @property
    def cluster_id(self) -> str:
        """Return the id of the cluster that batches come from; known once there is a batch."""
        return self._cluster_id

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def take(self, timeout_s: float) -> Batch | None:
        """Return the next batch, None if there is none yet or no more.

        Raises
        ------
        MarqueeError
            That ended the thread.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._ended, timeout_s)
            if self._failure is not None:
                raise self._failure
            batch, self._waiting = self._waiting, None
            self._busy = batch is not None
            self._changed.notify_all()
        return batch

    def done(self, landed: Sequence[Span]) -> None:
        """Say that the batch taken is landed, or with no spans that it cannot be: then partitions are placed anew."""
        with self._changed:
            self._busy = False
            self._landed.extend(landed)
            self._misplaced = self._misplaced or not landed
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Return whether no batch will come any more; what ended the thread is to be taken first."""
        with self._changed:
            return self._ended and self._waiting is None and self._failure is None

    def join(self, timeout_s: float) -> None:
        """Wait for the thread, which ends when its patience is told to stop."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            reader = self._patience.until_done(self._open_reader)
            self._cluster_id = reader.cluster_id
            try:
                while not self._patience.stopped and not self._step(reader):
                    continue
            finally:
                reader.close()
        except MarqueeError as error:
            self._failure = None if self._patience.stopped else error
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._session.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _step(self, reader: Reader) -> bool:
        """Read on a little, and return whether all there is was read and that was wanted."""
        if reader.displaced or self._misplaced:
            self._place(reader)
        if landed := self._take_landed():
            reader.copy_offsets(landed)
            failpoint("after_copy")
        room = self._room()
        if reader.full and not room:
            self._wait_for_room(reader)
            return False
        any_collected = self._patience.until_done(lambda: reader.collect(wait=room))
        if any_collected and (self._room() or reader.full) and not reader.displaced:
            self._offer(reader)
        elif not any_collected and room and self._until_caught_up:
            return self._caught_up(reader)
        return False

    def _place(self, reader: Reader) -> None:
        """Place partitions once the batch under way is landed or given up: before, Postgres cannot tell where."""
        with self._changed:
            self._waiting = None
            idle = self._changed.wait_for(lambda: not self._busy, MEMBERSHIP_S)
            self._misplaced = self._misplaced and not idle
        if not idle:
            self._patience.until_done(reader.keep_membership)
            return
        self._patience.until_done(lambda: reader.place(self._session.connection()), on_failure=self._session.close)
        self.halted = len(reader.halted)

    def _offer(self, reader: Reader) -> None:
        spans = self._patience.until_done(reader.take)
        self.halted = len(reader.halted)
        if not spans:
            return
        batch = decode(spans, datetime.now(UTC), self._decoders)
        while not self._patience.stopped:
            with self._changed:
                if self._misplaced or self._changed.wait_for(
                    lambda: self._waiting is None or self._misplaced, MEMBERSHIP_S
                ):
                    self._waiting = None if self._misplaced else batch
                    self._changed.notify_all()
                    return
            self._patience.until_done(reader.keep_membership)
            if reader.displaced:
                return

    def _wait_for_room(self, reader: Reader) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: self._waiting is None or self._misplaced, MEMBERSHIP_S):
                return
        self._patience.until_done(reader.keep_membership)

    def _caught_up(self, reader: Reader) -> bool:
        with self._changed:
            if self._busy or self._waiting is not None or self._misplaced:
                return False
        if self._patience.until_done(reader.lag) != 0 or reader.displaced:
            return False
        if reader.halted:
            raise HaltedError(
                "everything else is landed, but these partitions are stopped: "
                + "; ".join(f"{at.topic}[{at.partition}]: {why}" for at, why in reader.halted.items())
            )
        return True

    def _room(self) -> bool:
        with self._changed:
            return self._waiting is None and not self._misplaced

    def _take_landed(self) -> list[Span]:
        with self._changed:
            landed, self._landed = self._landed, []
        return landed
