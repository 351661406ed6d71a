"""The version that requests are answered from, with the live state of its items: one reference, swapped as a whole."""

from dataclasses import dataclass

from serving.bundle_slot import Served
from serving.item_states import ItemTable
from serving.live_statistics import LiveStatistics
from serving.seams import Model


@dataclass(frozen=True, eq=False, slots=True)
class LiveModel:
    """A served version and what Postgres says of its items; a request keeps the one that it started with."""

    served: Served
    items: ItemTable
    statistics: LiveStatistics

    @property
    def model(self) -> Model:
        """Return the open bundle."""
        return self.served.model

    @property
    def version(self) -> str:
        """Return the registered version."""
        return self.served.version


@dataclass(eq=False, slots=True)
class Current:
    """Holds the reference that is swapped; None until there is a first version."""

    live: LiveModel | None = None
