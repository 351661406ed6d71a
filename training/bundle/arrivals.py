"""Items that came after a bundle was made: they join it by what their texts say, beside those that it knows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.errors import ContractError
from features.contracts.facts import ItemFacts
from features.contracts.ids import IdMap
from features.contracts.ragged import offsets_of
from features.contracts.statistics import StatisticsState
from features.items import Categories
from training.bundle.content import Content
from training.bundle.foldin import FoldIn
from training.bundle.parts import Parts
from training.bundle.sources import CONTENT
from training.bundle.tables import MAX_NEIGHBOURS, NeighbourTable

_BLOCK: Final = 64
"""Arrivals whose nearest texts are looked for at once: four times as many take 150 MiB more, and longer."""


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Items that a bundle lacks, the oldest first.

    Attributes
    ----------
    item_ids
        External ids.
    vectors
        (n, n_dimensions), by the bundle's encoder.
    categories
        Of each item, by name.
    facts
        Price and year of each.
    """

    item_ids: Sequence[str]
    vectors: npt.NDArray[np.floating]
    categories: Sequence[Sequence[str]]
    facts: ItemFacts

    def __len__(self) -> int:
        """Return the number of arrivals."""
        return len(self.item_ids)


def grown(parts: Parts, arrivals: Arrivals) -> Parts:
    """Return the parts with arrivals after the items that they hold, whose internal indices stay as they are.

    What was learned stays the same: an arrival has no history, the factors that its text promises, and the nearest
    texts as neighbours.

    Raises
    ------
    ContractError
        If the parts know no texts, hold one of the items already, or the vectors are of another length than theirs.
    """
    content, n_before = _content_of(parts, arrivals), len(parts.items)
    items = IdMap([*parts.items.external(np.arange(n_before)), *arrivals.item_ids])
    vectors = np.concatenate((content.vectors, arrivals.vectors.astype(np.float16)))
    factors = np.concatenate((parts.fold_in.factors, content.factors(vectors[n_before:])))
    tables = {name: _with_rows(table, len(arrivals)) for name, table in parts.tables.items()}
    return replace(
        parts,
        items=items,
        fold_in=replace(parts.fold_in, factors=factors, held=_with_not_held(parts.fold_in, len(arrivals))),
        tables=tables | {CONTENT: _with_nearest(parts.tables[CONTENT], vectors, n_before)},
        categories=_with_categories(parts.categories, arrivals.categories),
        facts=ItemFacts(
            np.concatenate((parts.facts.price, arrivals.facts.price)),
            np.concatenate((parts.facts.year, arrivals.facts.year)),
        ),
        state=_with_unmet(parts.state, len(arrivals)),
        fresh=np.concatenate((parts.fresh, np.arange(n_before, len(items), dtype=np.int32))),
        content=replace(content, vectors=vectors, index=None),
    )


def _content_of(parts: Parts, arrivals: Arrivals) -> Content:
    """Return what the parts know of texts, if arrivals can join it."""
    if parts.content is None:
        raise ContractError("a bundle without content vectors cannot take items up; train one on a catalogue of texts")
    wanted, found = parts.content.vectors.shape[1], arrivals.vectors.shape
    if found != (len(arrivals), wanted):
        raise ContractError(
            f"{len(arrivals)} arrivals have vectors of shape {found}, the bundle's have {wanted} dimensions; "
            f"encode them by {parts.content.encoder}"
        )
    return parts.content


def _with_not_held(fold_in: FoldIn, n_more: int) -> npt.NDArray[np.bool_]:
    """Return whose factors the equations hold: those of as before, and of none that comes now."""
    before = np.ones(len(fold_in.factors), dtype=bool) if fold_in.held is None else fold_in.held
    return np.concatenate((before, np.zeros(n_more, dtype=bool)))


def _with_rows(table: NeighbourTable, n_more: int) -> NeighbourTable:
    """Return a table with so many more items, which nothing goes with."""
    more = np.full(n_more, table.offsets[-1], dtype=np.int64)
    return NeighbourTable(np.concatenate((table.offsets, more)), table.index, table.value)


def _with_nearest(table: NeighbourTable, vectors: npt.NDArray[np.float16], n_before: int) -> NeighbourTable:
    """Return the table of nearest texts with rows of the items from `n_before` on, among all items."""
    everything = vectors.astype(np.float32)
    index, value, counts = [table.index], [table.value], [np.diff(table.offsets)]
    for start in range(n_before, len(vectors), _BLOCK):
        own = everything[start : start + _BLOCK]
        near = own @ everything.T
        near[np.arange(len(own)), np.arange(start, start + len(own))] = 0
        limit = min(MAX_NEIGHBOURS, near.shape[1])
        best = np.argpartition(-near, limit - 1, axis=1)[:, :limit]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(near, best, axis=1), axis=1), axis=1)
        cosine = np.take_along_axis(near, best, axis=1)
        some = cosine > 0
        index.append(best[some].astype(np.int32))
        value.append(cosine[some].astype(np.float16))
        counts.append(some.sum(axis=1))
    return NeighbourTable(offsets_of(np.concatenate(counts)), np.concatenate(index), np.concatenate(value))


def _with_categories(known: Categories, more: Sequence[Sequence[str]]) -> Categories:
    """Return categories of all items; names that are new come after those known."""
    names = dict.fromkeys((*known.names, *(name for entry in more for name in entry)))
    position = {name: place for place, name in enumerate(names)}
    lists = [list(dict.fromkeys(position[name] for name in entry)) for entry in more]
    index = np.array([place for entry in lists for place in entry], dtype=np.int32)
    count = np.concatenate((known.count, [len(entry) for entry in lists])).astype(np.int64)
    return Categories(tuple(names), offsets_of(count), np.concatenate((known.index, index)))


def _with_unmet(state: StatisticsState, n_more: int) -> StatisticsState:
    """Return statistics with so many more items, which no event has touched."""
    return StatisticsState.all_of([state, StatisticsState.empty(n_more)])
