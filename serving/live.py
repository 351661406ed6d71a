"""The version that requests are answered from, with the live state of its items: one reference, swapped as a whole."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from features.contracts.profiles import Options, UserHistory
from serving.bundle_slot import Served
from serving.item_states import ItemStates, ItemTable
from serving.kept import Kept
from serving.live_statistics import LiveStatistics
from serving.seams import Model
from serving.texts import Texts


@dataclass(frozen=True, eq=False, slots=True)
class LiveModel:
    """A served version and what Postgres says of its items; a request keeps the one that it started with.

    Attributes
    ----------
    served
        The version as it was published.
    model
        Its bundle, with what arrived since.
    items, statistics
        Of the items of `model`.
    texts
        All texts by the bundle's encoder, None where it names none.
    kept
        Lists that were made by `model`.
    """

    served: Served
    model: Model
    items: ItemTable
    statistics: LiveStatistics
    texts: Texts | None = None
    kept: Kept = field(default_factory=Kept)

    @property
    def version(self) -> str:
        """Return the registered version."""
        return self.served.version

    @property
    def n_arrivals(self) -> int:
        """Return how many items arrived since the bundle was made."""
        return len(self.model.items) - len(self.served.model.items)


_WARM_ITEMS: Final = 20
_WARM_OPTIONS: Final = (Options(diversity=0.5), Options(candidates=np.zeros(1, dtype=np.int32), include_seen=True))
"""Of lists that between them run every loop, on arrays of either layout: rows of one candidate are contiguous."""


def warm(live: LiveModel) -> None:
    """Answer made-up requests, so that no user waits for what is computed at first use; blocking."""
    model, statistics = live.model, live.statistics.current
    items = model.items.external(np.arange(min(_WARM_ITEMS, len(model.items))))
    size, as_of_us = len(items), statistics.closed_at_us + 1
    history = UserHistory("", items, items, ["view"] * size, [1.0] * size, [as_of_us - 1] * size, items)
    for options in _WARM_OPTIONS:
        model.recommend(model.encode([history]), statistics, as_of_us, options)


@dataclass(eq=False, slots=True)
class Current:
    """Holds the references that are swapped.

    Attributes
    ----------
    live
        None until there is a first version.
    states
        What all items are now, whatever version is served.
    bare
        Texts by the newest encoder, followed where there is no version, or one that names no encoder.
    """

    live: LiveModel | None = None
    states: ItemStates = field(default_factory=ItemStates)
    bare: Texts | None = None

    @property
    def texts(self) -> Texts | None:
        """Return all texts that can be searched now."""
        return self.bare if self.live is None or self.live.texts is None else self.live.texts
