"""The event loop's way to Kafka: sends from a thread, waits for acknowledgements without one."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from features.contracts.errors import UnavailableError
from features.contracts.events import Event


class Producer(Protocol):
    """`features.kafka.EventProducer`, as far as serving uses it."""

    def send(self, event: Event) -> "Future[None]":
        """Return a future that is done once all replicas have the event; may block for about a second."""
        ...

    def close(self) -> None:
        """Send what is still waiting and disconnect."""
        ...


class ProducerSink:
    """Sends events by a producer whose sending may block while the broker is away.

    Parameters
    ----------
    producer
        Safe to share between threads.
    threads
        As many callers may be held up at once while the broker is away.
    """

    def __init__(self, producer: Producer, threads: int = 4) -> None:
        self._producer = producer
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="kafka-send")

    async def send(self, events: Sequence[Event]) -> None:
        """Return once every event is acknowledged by all in-sync replicas.

        Raises
        ------
        UnavailableError
            If one was not; others may have been.
        """
        loop = asyncio.get_running_loop()
        sent = await loop.run_in_executor(self._executor, self._send_all, events)
        results = await asyncio.gather(*map(asyncio.wrap_future, sent), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def close(self) -> None:
        """Send what is still waiting and disconnect."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._producer.close)
        self._executor.shutdown()

    def _send_all(self, events: Sequence[Event]) -> "list[Future[None]]":
        return [self._sent(event) for event in events]

    def _sent(self, event: Event) -> "Future[None]":
        try:
            return self._producer.send(event)
        except UnavailableError as error:
            failed: Future[None] = Future()
            failed.set_exception(error)
            return failed
