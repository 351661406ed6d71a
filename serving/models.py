"""The versions of the model as the registry has them, for people who compare them."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

from features.contracts.errors import UnavailableError
from features.contracts.times import from_us, zulu
from serving.guard import Guard
from serving.problems import ProblemError, unavailable
from serving.seams import Versions
from training.bundle.registry import TAG_GATE, TAG_GATE_REASONS, NotThereError, RegisteredVersion, RegistryError

Answer = TypeVar("Answer")


class Models:
    """Answers which versions there are.

    Parameters
    ----------
    registry, guard
        MLflow, and what answers at once while it is away.
    executor
        Threads for its client, of their own: while MLflow hangs nothing else waits for them.
    """

    def __init__(self, model_name: str, registry: Versions, guard: Guard, executor: Executor) -> None:
        self._model_name = model_name
        self._registry = registry
        self._guard = guard
        self._executor = executor

    async def newest(self, limit: int) -> dict[str, Any]:
        """Return the newest versions in their wire form.

        Raises
        ------
        ProblemError
            503, if the registry is away or too slow.
        """
        return {"model_name": self._model_name, "versions": await self._ask(lambda: self._newest(limit))}

    async def one(self, version: str) -> dict[str, Any]:
        """Return one version in its wire form.

        Raises
        ------
        ProblemError
            404 if there is no such version, 503 if the registry is away or too slow.
        """
        return (await self._ask(lambda: self._described([self._registry.version(version)])))[0]

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

    async def _ask(self, ask: Callable[[], Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        try:
            return await self._guard.call(lambda: loop.run_in_executor(self._executor, ask))
        except NotThereError:
            raise ProblemError(404, f"model {self._model_name!r} has no such version") from None
        except (UnavailableError, RegistryError):
            raise unavailable("the model registry does not answer now; what is served stays") from None
