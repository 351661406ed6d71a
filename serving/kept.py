"""Lists beside the version that made them, to be given again while all that they were made from is the same."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self
from weakref import ref

from features.contracts.ids import MISSING
from serving.asks import Ask
from serving.item_states import ItemStates
from training.bundle.result import Recommendations

if TYPE_CHECKING:
    from serving.listed import Listed
    from serving.live import LiveModel

ENTRY_BYTES: Final = 2_000
ITEM_BYTES: Final = 400
"""What an entry and each of its items take beside the list's bytes: states, what impressions tell. Keys are digests."""


@dataclass(frozen=True, eq=False, slots=True)
class Basis:
    """What a list is made from, apart from the history: the same objects, or something has changed.

    Attributes
    ----------
    parts
        Objects that are replaced when what they say changes, and never written to. Statistics and masks, which are
        large, by weak references, of which each object has one: kept lists do not hold on to those of earlier moments.
    states
        Of all items.
    places, told
        Where the items stand that the list speaks of, and their states: two tuples, and not one of pairs, which the
        search for garbage would have to pass by one by one, for each list that is kept.
    """

    parts: Sequence[object]
    states: ItemStates
    places: Sequence[int] = ()
    told: Sequence[object] = ()

    @classmethod
    def of(cls, ask: Ask, live: "LiveModel", as_of_us: int) -> Self:
        """Return what a list for a request would be made from at a moment."""
        states = live.items.states
        grouping = states.grouping if ask.categories else None
        statistics, visible = ref(live.statistics.current), ref(live.items.visible(as_of_us))
        return cls((live.version, live.items, statistics, visible, grouping), states)

    def with_told(self, live: "LiveModel", ranked: Recommendations | None) -> "Basis":
        """Return the basis of a list that was made: with the states of the items that it speaks of."""
        if ranked is None:
            return self
        rows = {*ranked.items[0].tolist(), *ranked.because[0].tolist()} - {MISSING}
        places = tuple(live.items.rows[list(rows)].tolist())
        return Basis(self.parts, self.states, places, tuple(self.states.state(place) for place in places))

    def still_holds(self, now: "Basis") -> bool:
        """Return whether a list that was made from this would be made from `now` all the same."""
        return all(mine is other for mine, other in zip(self.parts, now.parts, strict=True)) and all(
            self.states.state(place) is state for place, state in zip(self.places, self.told, strict=True)
        )


@dataclass(frozen=True, eq=False, slots=True)
class KeptList:
    """A list, what it was made from, and the digest of the stored history, None where there was none."""

    listed: "Listed"
    basis: Basis
    digest: int | None

    @property
    def size_bytes(self) -> int:
        """Return about how much memory it takes."""
        return ENTRY_BYTES + len(self.listed.items) + ITEM_BYTES * len(self.listed.shown)


class Kept:
    """The lists asked for last of one version, up to a number of bytes; gone with the version."""

    def __init__(self) -> None:
        self._made: OrderedDict[Hashable, KeptList] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        """Return the number of lists."""
        return len(self._made)

    def find(self, key: Hashable, now: Basis) -> KeptList | None:
        """Return the list of a key, None where it would be another one now; the history is yet to be compared."""
        made = self._made.get(key)
        if made is None:
            return None
        if not made.basis.still_holds(now):
            self._drop(key)
            return None
        self._made.move_to_end(key)
        return made

    def put(self, key: Hashable, made: KeptList, limit_bytes: int) -> None:
        """Keep a list; those asked for longest ago make room."""
        self._drop(key)
        if made.size_bytes > limit_bytes:
            return
        self._made[key] = made
        self.size_bytes += made.size_bytes
        while self.size_bytes > limit_bytes:
            self._drop(next(iter(self._made)))

    def _drop(self, key: Hashable) -> None:
        made = self._made.pop(key, None)
        if made is not None:
            self.size_bytes -= made.size_bytes
