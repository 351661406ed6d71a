"""Lists that are given again, or made once for all who ask for the same at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from operator import attrgetter
from typing import Final

from msgspec import msgpack

from serving.asks import Ask
from serving.deadline import Deadline
from serving.kept import Basis, Kept, KeptList
from serving.listed import Listed
from serving.metrics import Metrics

_NO_PART_OF_A_LIST: Final = frozenset({"experiment_id", "context", "deadline_s", "explain", "in_full", "history"})
_WISHES: Final = attrgetter(*(field.name for field in fields(Ask) if field.name not in _NO_PART_OF_A_LIST))
_KEY_BYTES: Final = 16
_WRITER: Final = msgpack.Encoder()
"""Says of each wish how long it is: no two write the same."""

Make = Callable[[], Awaitable[tuple[Listed, Basis | None]]]
"""Gives a list, and what it was made from where it may be kept."""


@dataclass(frozen=True, eq=False, slots=True)
class Wanted:
    """What a request may share with others: the key of its list, and what that would be made from now."""

    key: bytes
    now: Basis
    kept: Kept


@dataclass(frozen=True, eq=False, slots=True)
class _Flight:
    """A list that is being made; `done` gives None where nothing came of it."""

    now: Basis
    done: "asyncio.Future[Listed | None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Answers:
    """Gives lists that were made, and lets others make them.

    Parameters
    ----------
    limit_bytes
        Of the lists that are kept; 0 keeps none, and lets every request make its own.
    """

    def __init__(self, limit_bytes: int, metrics: Metrics) -> None:
        self._limit = limit_bytes
        self._under_way: dict[tuple[bytes, int | None], _Flight] = {}
        self._metrics = metrics

    def key_of(self, ask: Ask) -> bytes | None:
        """Return what requests for the same list have in common; None for those whose list is not shared.

        A request's own history happened just now, whenever that is; explanations are asked for seldom; and what is new
        in the catalogue is looked up, not computed. It is a digest: wishes may take a quarter of a megabyte, and
        thousands of lists are kept.
        """
        if not self._limit or ask.history or ask.explain or ask.kind == "new":
            return None
        return blake2b(_WRITER.encode(_WISHES(ask)), digest_size=_KEY_BYTES).digest()

    def reused(self, kept: KeptList) -> Listed:
        """Return a list that is given again."""
        self._count("reused")
        return kept.listed

    async def once(self, wanted: Wanted, digest: int | None, deadline: Deadline, make: Make) -> Listed:
        """Return a list, made once for all who ask for the same from the same basis and history at the same time.

        Raises
        ------
        LateError
            If somebody else makes it, and it is not there in time.
        """
        place = (wanted.key, digest)
        flight = self._under_way.get(place)
        if flight is not None and flight.now.still_holds(wanted.now):
            listed = await deadline.wait_for("rank", lambda: asyncio.shield(flight.done))
            # What was late for somebody else may be in time for this request.
            if listed is not None and not listed.degraded:
                self._count("joined")
                return listed
        return await self._lead(place, wanted, digest, make)

    async def _lead(self, place: tuple[bytes, int | None], wanted: Wanted, digest: int | None, make: Make) -> Listed:
        flight = self._under_way[place] = _Flight(wanted.now)
        listed = None
        try:
            listed, basis = await make()
        finally:
            flight.done.set_result(listed)
            if self._under_way.get(place) is flight:
                del self._under_way[place]
        self._count("made")
        if basis is not None and not listed.degraded:
            wanted.kept.put(wanted.key, KeptList(listed, basis, digest), self._limit)
            self._metrics.lists.answers_bytes.set(wanted.kept.size_bytes)
        return listed

    def _count(self, outcome: str) -> None:
        self._metrics.lists.answers.labels(outcome).inc()
