"""How the server and what it depends on are doing."""

from typing import Any

from features.contracts.errors import UnavailableError
from serving.bundle_slot import BundleSlot
from serving.guard import Guard
from serving.live import Current
from serving.reach import Reach
from serving.seams import Store


class Checkup:
    """Looks at everything that an answer depends on.

    Kafka is known by the latest attempt to reach it, the registry by the latest look at the alias; Postgres is asked.
    """

    def __init__(self, current: Current, store: Store, store_guard: Guard, kafka: Reach, slot: BundleSlot) -> None:
        self._current = current
        self._store = store
        self._store_guard = store_guard
        self._kafka = kafka
        self._slot = slot

    @property
    def ready(self) -> bool:
        """Return whether a model is served."""
        return self._current.live is not None

    async def health(self) -> dict[str, Any]:
        """Return the wire form of `/health`."""
        postgres = await self._postgres()
        checks = {
            "model": word_of(well=self.ready),
            "postgres": word_of(well=postgres),
            "kafka": "incomplete" if self._kafka.well and self._kafka.lacks else word_of(well=self._kafka.well),
            "registry": word_of(well=self._slot.reached),
        }
        if all(word == "ok" for word in checks.values()):
            status = "ok"
        else:
            status = "degraded" if self.ready or postgres else "unavailable"
        return {"status": status, "ready": self.ready, "checks": checks, "lacks": list(self._kafka.lacks)}

    async def _postgres(self) -> bool:
        try:
            await self._store_guard.call(self._store.ping)
        except UnavailableError:
            return False
        return True


def word_of(*, well: bool | None) -> str:
    """Return what is said of a service; None = it is being asked for the first time."""
    return "unknown" if well is None else "ok" if well else "away"
