"""The event loop's way to Kafka: what comes while a load is under way leaves together, and nobody waits in a thread."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import structlog

from features.contracts.errors import UnavailableError
from features.kafka import EVENT_TOPICS, TopicError, no_topic
from features.kafka_bulk import Message

log = structlog.get_logger(__name__)

Done = Callable[[Sequence[int], BaseException | None], None]

LOADS: Final = 2
"""How many loads may be under way; what comes meanwhile gathers: each costs a millisecond, however little it holds."""
PATIENCE_S: Final = 0.1
"""After this the next load leaves anyway: a broker that is slow or away must not hold up what goes to others."""
MOST_WAITING: Final = 50_000
"""Messages that may wait for acknowledgement; a broker that is away must not fill the memory."""


class Producer(Protocol):
    """`features.kafka.EventProducer`, as far as serving uses it."""

    def connect(self, topics: Iterable[str]) -> None:
        """Return once messages to these topics can be handed over; may block for about a second."""
        ...

    def connected(self, topics: Iterable[str]) -> bool:
        """Return whether they can be handed over now."""
        ...

    def send_many(self, messages: Sequence[Message], done: Done) -> None:
        """Hand messages over without waiting; `done` hears of each place in another thread."""
        ...

    def ask(self, topics: Iterable[str]) -> set[str]:
        """Return which of these topics are missing, once a broker answers; may block for some seconds."""
        ...

    def close(self) -> None:
        """Send what is still waiting and disconnect."""
        ...


@dataclass(slots=True)
class _Waiting:
    """A caller, and how many of its messages are not acknowledged yet."""

    left: int
    future: "asyncio.Future[None]"

    def hear(self, error: BaseException | None) -> None:
        """Count one message; the caller goes on after the last, or at once when one failed."""
        self.left -= 1
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(UnavailableError(f"Kafka did not take it: {error!r}"))
        elif not self.left:
            self.future.set_result(None)


class ProducerSink:
    """Sends messages by a producer whose connecting may block while the broker is away.

    Parameters
    ----------
    producer
        Safe to share between threads.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="kafka-connect")
        self._connecting: dict[str, asyncio.Task[None]] = {}
        self._missing: set[str] = set()
        self._gathered: list[tuple[Sequence[Message], _Waiting]] = []
        self._waiting = 0
        self._loads = 0
        self._patience: asyncio.TimerHandle | None = None
        self._news: list[tuple[_Load, Sequence[int], BaseException | None]] = []
        self._news_lock = threading.Lock()

    async def send(self, messages: Sequence[Message]) -> None:
        """Return once every message is acknowledged by all in-sync replicas.

        Raises
        ------
        UnavailableError
            If one was not; others may have been.
        """
        for topic in {message.topic for message in messages}:
            while not self._producer.connected([topic]):
                await self._connect(topic)
        if self._waiting + len(messages) > MOST_WAITING:
            raise UnavailableError(f"Kafka: {self._waiting} messages wait for it already")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(len(messages), loop.create_future())
        self._gathered.append((messages, waiting))
        if len(self._gathered) == 1:
            self._leave_soon(loop)
        await waiting.future

    async def ask(self) -> list[str]:
        """Return what a broker lacks, once one answers: of each topic of events that is missing, what to do.

        Raises
        ------
        UnavailableError
            If none does within some seconds.
        """
        asking = asyncio.get_running_loop().run_in_executor(self._executor, self._producer.ask, EVENT_TOPICS)
        missing = sorted(await asking)
        self._missing.intersection_update(missing)
        for topic in missing:
            self._miss(topic)
        return [no_topic(topic) for topic in missing]

    async def close(self) -> None:
        """Send what is still waiting and disconnect."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._producer.close)
        self._executor.shutdown()

    async def _connect(self, topic: str) -> None:
        """Connect, or wait for the attempt under way: callers of a broker that is away do not queue up."""
        connecting = self._connecting.get(topic)
        if connecting is None or connecting.done():
            # Of each topic its own: one that is not there must not fail those who post to others.
            connecting = self._connecting[topic] = asyncio.create_task(self._connect_in_thread(topic))
            connecting.add_done_callback(_look_at)
        # A caller that gives up leaves the attempt to the others.
        await asyncio.shield(connecting)

    async def _connect_in_thread(self, topic: str) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._producer.connect, [topic])
        except TopicError:
            self._miss(topic)
            raise
        self._missing.discard(topic)

    def _miss(self, topic: str) -> None:
        """Say once that a topic is missing, until it is there."""
        if topic not in self._missing:
            log.warning("topic_missing", topic=topic, error=no_topic(topic))
        self._missing.add(topic)

    def _leave_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let what has gathered leave after this turn of the loop, or with the end of the load under way."""
        if self._loads < LOADS:
            loop.call_soon(self._hand_over)
        elif self._patience is None:
            self._patience = loop.call_later(PATIENCE_S, self._hand_over)

    def _hand_over(self) -> None:
        """Hand over what has gathered, but for callers that gave up."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        gathered, self._gathered = self._gathered, []
        gathered = [(mine, waiting) for mine, waiting in gathered if not waiting.future.done()]
        if not gathered:
            return
        messages = [message for mine, _ in gathered for message in mine]
        load = _Load([waiting for mine, waiting in gathered for _ in mine], len(messages))
        self._loads += 1
        self._waiting += len(messages)
        try:
            self._producer.send_many(messages, partial(self._tell, asyncio.get_running_loop(), load))
        except UnavailableError as error:
            self._hear(load, range(len(messages)), error)
        except Exception as error:  # a defect must show, and must not leave callers and their places waiting for ever
            log.exception("hand_over_defect", messages=len(messages))
            self._hear(load, range(len(messages)), error)

    def _tell(
        self,
        loop: asyncio.AbstractEventLoop,
        load: "_Load",
        places: Sequence[int],
        error: BaseException | None,
    ) -> None:
        """Bring news from a producer's thread into the loop, which is woken once for all that come together.

        There may be two such threads for a while: of a producer that is being closed, and of the one that follows it.
        """
        with self._news_lock:
            wakes = not self._news
            self._news.append((load, places, error))
        if wakes and not loop.is_closed():
            loop.call_soon_threadsafe(self._hear_all)

    def _hear_all(self) -> None:
        with self._news_lock:
            # From here on what comes wakes the loop again.
            news, self._news = self._news, []
        for load, places, error in news:
            try:
                self._hear(load, places, error)
            except Exception:  # a defect must show, and must not keep the others from hearing
                log.exception("acknowledgement_defect")

    def _hear(self, load: "_Load", places: Sequence[int], error: BaseException | None) -> None:
        if not load.left:  # all of it has failed before; some of its messages were on their way
            return
        for place in places:
            load.owners[place].hear(error)
        self._waiting -= len(places)
        load.left -= len(places)
        if not load.left:
            self._loads -= 1
            if self._gathered and self._loads < LOADS:
                self._hand_over()


def _look_at(connecting: "asyncio.Task[None]") -> None:
    """Take note of a failure: callers that waited for it may all have given up."""
    if not connecting.cancelled():
        connecting.exception()


@dataclass(slots=True)
class _Load:
    """Messages that were handed over together: to whom each belongs, and how many are not acknowledged yet."""

    owners: Sequence[_Waiting]
    left: int
