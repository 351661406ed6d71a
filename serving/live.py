"""The version that requests are answered from, with the live state of its items: one reference, swapped as a whole."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.contracts.profiles import Options, UserHistory
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


_WARM_ITEMS: Final = 20


def warm(live: LiveModel) -> None:
    """Answer a made-up request, so that no user waits for what is computed at first use; blocking."""
    model, statistics = live.model, live.statistics.current
    items = model.items.external(np.arange(min(_WARM_ITEMS, len(model.items))))
    size, as_of_us = len(items), statistics.closed_at_us + 1
    history = UserHistory("", items, items, ["view"] * size, [1.0] * size, [as_of_us - 1] * size, items)
    model.recommend(model.encode([history]), statistics, as_of_us, Options())


@dataclass(eq=False, slots=True)
class Current:
    """Holds the reference that is swapped; None until there is a first version."""

    live: LiveModel | None = None
