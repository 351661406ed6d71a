"""The versions of the model as the registry has them, for people who compare them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Final, Protocol, TypeVar

from features.audit import AuditEvent
from features.contracts.errors import UnavailableError
from features.contracts.times import from_us, zulu
from serving.guard import Guard
from serving.problems import ProblemError, unavailable
from serving.seams import Versions
from training.bundle.versions import (
    TAG_GATE,
    TAG_GATE_REASONS,
    TAGS_OF_PEOPLE,
    NotThereError,
    RegisteredVersion,
    RegistryError,
)

Answer = TypeVar("Answer")

MOST_MOVES: Final = 1_000
"""Moves of the alias that are looked through: of years, where it moves every day."""
_OF_PEOPLE: Final = frozenset({"by", "reason", "correlation_id"})
"""Members of a move that tell of who made it; the run or request leads to them."""


class History(Protocol):
    """The moves of the alias that servers follow; blocking, raises `UnavailableError` while Postgres is away."""

    def history(self, at_most: int) -> list[AuditEvent]:
        """Return the latest moves, newest first."""
        ...


class KnownMoves:
    """Who moved the alias where and why, for people who look at versions.

    Parameters
    ----------
    history, guard
        What keeps the moves, and what answers at once while Postgres is away.
    executor
        Threads for it: a look waits for a connection.
    """

    def __init__(self, history: History, guard: Guard, executor: Executor) -> None:
        self._history = history
        self._guard = guard
        self._executor = executor

    async def latest(self) -> list[dict[str, Any]] | None:
        """Return the latest moves in their wire form, newest first; None where they cannot be read now."""
        loop = asyncio.get_running_loop()
        try:
            found = await self._guard.call(
                lambda: loop.run_in_executor(self._executor, self._history.history, MOST_MOVES)
            )
        except UnavailableError:
            return None
        return [_move(one) for one in found]


class Models:
    """Answers which versions there are; who promoted or moved them, and in which words, to the admin alone.

    Parameters
    ----------
    registry, guard
        MLflow, and what answers at once while it is away.
    executor
        Threads for its client, of their own: while MLflow hangs nothing else waits for them.
    moves
        What is known of moves to and from each version.
    """

    def __init__(
        self, model_name: str, registry: Versions, guard: Guard, executor: Executor, moves: KnownMoves
    ) -> None:
        self._model_name = model_name
        self._registry = registry
        self._guard = guard
        self._executor = executor
        self._moves = moves

    async def newest(self, limit: int, *, people: bool) -> dict[str, Any]:
        """Return the newest versions in their wire form.

        Parameters
        ----------
        people
            Whether it says who decided, and their words.

        Raises
        ------
        ProblemError
            503, if the registry is away or too slow.
        """
        versions = await self._ask(lambda: self._newest(limit))
        return {"model_name": self._model_name, "versions": await self._with_moves(versions, people=people)}

    async def one(self, version: str, *, people: bool) -> dict[str, Any]:
        """Return one version in its wire form; `people` as above.

        Raises
        ------
        ProblemError
            404 if there is no such version, 503 if the registry is away or too slow.
        """
        found = await self._ask(lambda: self._described([self._registry.version(version)]))
        return (await self._with_moves(found, people=people))[0]

    def _newest(self, limit: int) -> list[dict[str, Any]]:
        return self._described(self._registry.versions()[:limit])

    def _described(self, versions: Sequence[RegisteredVersion]) -> list[dict[str, Any]]:
        aliases = self._registry.aliases()
        metrics = self._registry.metrics([one.run_id for one in versions if one.run_id])
        return [
            {
                "version": one.version,
                "aliases": sorted(alias for alias, version in aliases.items() if version == one.version),
                "digest": one.digest,
                "run_id": one.run_id or None,
                "created_at": zulu(from_us(one.created_at_us)),
                "gate": one.tags.get(TAG_GATE),
                "gate_reasons": one.tags.get(TAG_GATE_REASONS),
                "tags": dict(one.tags),
                "metrics": metrics.get(one.run_id, {}),
            }
            for one in versions
        ]

    async def _with_moves(self, versions: list[dict[str, Any]], *, people: bool) -> list[dict[str, Any]]:
        """Return versions with the moves of the alias to and from each."""
        moves = await self._moves.latest()
        told = [one | {"moves": None if moves is None else _of(one["version"], moves)} for one in versions]
        return told if people else [_without_people(one) for one in told]

    async def _ask(self, ask: Callable[[], Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        try:
            return await self._guard.call(lambda: loop.run_in_executor(self._executor, ask))
        except NotThereError:
            raise ProblemError(404, f"model {self._model_name!r} has no such version") from None
        except (UnavailableError, RegistryError):
            raise unavailable("the model registry does not answer now; what is served stays") from None


def _move(event: AuditEvent) -> dict[str, Any]:
    return {
        "at": zulu(event.at),
        "by": event.actor,
        "how": event.action,
        "alias": event.details["alias"],
        "from": event.details["from"],
        "to": event.target,
        "reason": event.details["reason"],
        "correlation_id": event.correlation_id,
    }


def _of(version: str, moves: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [move for move in moves if version in {move["from"], move["to"]}]


def _without_people(version: Mapping[str, Any]) -> dict[str, Any]:
    """Return a version in its wire form without who decided on it, and their words."""
    tags = {name: value for name, value in version["tags"].items() if name not in TAGS_OF_PEOPLE}
    moves = version["moves"] and [
        {name: value for name, value in move.items() if name not in _OF_PEOPLE} for move in version["moves"]
    ]
    return {**version, "tags": tags, "moves": moves}
