"""A TCP proxy whose links can be made bad: the eight classic toxics, in a thread of its own.

Names and meanings are those of Toxiproxy: latency, bandwidth, slow_close, timeout, reset_peer, slicer, limit_data, and
down. One toxic at a time, on both directions of every connection, also of those that are open.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

LOOPBACK: Final = "127.0.0.1"
CHUNK: Final = 65_536


@dataclass(frozen=True)
class Toxic:
    """How links are bad; the defaults do nothing.

    Attributes
    ----------
    latency_s
        Delay of all data (latency).
    bytes_per_s
        Rate of each direction (bandwidth).
    close_delay_s
        Delay of the end of a connection (slow_close).
    silent
        Whether nothing passes until the toxic is gone; then connections close (timeout).
    reset_after_s
        Seconds of life after which a connection is reset (reset_peer).
    slice_bytes, slice_delay_s
        Size of pieces that data is cut into, and the pause after each (slicer).
    limit_bytes
        Data after which a direction closes the connection (limit_data).
    down
        Whether there is no listener and every connection is cut (down).
    """

    latency_s: float = 0
    bytes_per_s: float = 0
    close_delay_s: float = 0
    silent: bool = False
    reset_after_s: float | None = None
    slice_bytes: int = 0
    slice_delay_s: float = 0
    limit_bytes: int | None = None
    down: bool = False


NONE: Final = Toxic()
TOXICS: Final = {
    "latency": Toxic(latency_s=0.3),
    "bandwidth": Toxic(bytes_per_s=30_000),
    "slow_close": Toxic(close_delay_s=2),
    "timeout": Toxic(silent=True),
    "reset_peer": Toxic(reset_after_s=0.2),
    "slicer": Toxic(slice_bytes=100, slice_delay_s=0.002),
    "limit_data": Toxic(limit_bytes=5_000),
    "down": Toxic(down=True),
}


class Proxy:
    """Listens on a port of loopback and passes everything on to another.

    Parameters
    ----------
    upstream
        The port that connections are passed on to.
    port
        The port to listen on; 0 takes a free one.
    """

    def __init__(self, upstream: int, port: int = 0) -> None:
        self._upstream = upstream
        self._toxic = NONE
        self._loop = asyncio.new_event_loop()
        self._healed = asyncio.Event()
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.port = port
        self._call(self._listen())

    def close(self) -> None:
        """Cut every connection and listen no more."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextmanager
    def poisoned(self, toxic: Toxic) -> Iterator[None]:
        """Make the links bad for as long as the block runs."""
        self._call(self._change(toxic))
        try:
            yield
        finally:
            self._call(self._change(NONE))

    @property
    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self._links)

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _change(self, toxic: Toxic) -> None:
        before, self._toxic = self._toxic, toxic
        healed, self._healed = self._healed, asyncio.Event()
        healed.set()
        if toxic.down:
            await self._cut()
        elif before.down:
            await self._listen()
        if toxic.reset_after_s is not None:
            for link in self._links:
                self._loop.call_later(toxic.reset_after_s, link.reset)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in list(self._links):
            link.reset()
        await asyncio.sleep(0)

    async def _end(self) -> None:
        await self._cut()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0)  # in which the loop closes what was aborted

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection(LOOPBACK, self._upstream)
        except BaseException as error:
            writer.transport.abort()
            if isinstance(error, OSError):
                return
            raise
        link = _Link(writer, upstream[1])
        if self._server is None:  # cut while this one was on its way
            link.reset()
            return
        self._links.add(link)
        if self._toxic.reset_after_s is not None:
            self._loop.call_later(self._toxic.reset_after_s, link.reset)
        try:
            await asyncio.gather(self._pass(link, reader, upstream[1]), self._pass(link, upstream[0], writer))
        finally:
            self._links.discard(link)
            link.reset()

    async def _pass(self, link: "_Link", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one direction on until it ends."""
        passed = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                toxic, healed = self._toxic, self._healed
                if toxic.silent:
                    await healed.wait()
                    link.reset()
                    return
                limit = toxic.limit_bytes
                passed = passed + len(data) if limit is not None else 0
                await _trickle(writer, data if limit is None else data[: max(0, limit - passed + len(data))], toxic)
                if limit is not None and passed >= limit:
                    link.reset()
                    return
            if self._toxic.close_delay_s:
                await asyncio.sleep(self._toxic.close_delay_s)
            writer.close()


async def _trickle(writer: asyncio.StreamWriter, data: bytes, toxic: Toxic) -> None:
    """Write data as slowly as a toxic says."""
    if toxic.latency_s:
        await asyncio.sleep(toxic.latency_s)
    size = toxic.slice_bytes or (max(1, int(toxic.bytes_per_s / 10)) if toxic.bytes_per_s else len(data)) or 1
    pause = toxic.slice_delay_s or (0.1 if toxic.bytes_per_s else 0)
    for start in range(0, len(data), size):
        writer.write(data[start : start + size])
        await writer.drain()
        if pause:
            await asyncio.sleep(pause)


class _Link:
    """Both ends of a connection."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers

    def reset(self) -> None:
        """End the connection at once, by RST where the system can."""
        for writer in self._writers:
            raw: socket.socket | None = writer.get_extra_info("socket")
            if raw is not None and not writer.transport.is_closing():
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
