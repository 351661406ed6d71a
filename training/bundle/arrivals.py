"""Items that came after a bundle was made: they join it by what their texts say, beside those that it knows."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from features.contracts.errors import ContractError
from features.contracts.facts import ItemFacts
from features.contracts.ids import IdMap
from features.contracts.ragged import offsets_of
from features.contracts.statistics import StatisticsState
from features.items import Categories
from training.bundle import loops
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

    def digests(self, before: str = "") -> list[str]:
        """Return what identifies all that arrived up to each of these, in that order: ids, texts, categories and facts.

        Parameters
        ----------
        before
            The digest of what had arrived before them.
        """
        told = np.stack((self.facts.price, self.facts.year), axis=1).astype(np.float32)
        found = [before]
        for item_id, vector, names, facts in zip(
            self.item_ids, self.vectors.astype(np.float16), self.categories, told, strict=True
        ):
            words = msgspec.json.encode((found[-1], item_id, list(names)))
            found.append(hashlib.sha256(words + vector.tobytes() + facts.tobytes()).hexdigest())
        return found[1:]


def grown(parts: Parts, arrivals: Arrivals) -> Parts:
    """Return the parts with arrivals after the items that they hold, whose internal indices stay as they are.

    What was learned stays the same: an arrival has no history, the factors that its text promises, and the nearest
    texts as neighbours, as it is one of theirs.

    Raises
    ------
    ContractError
        If the parts know no texts, hold one of the items already, or the vectors are of another length than theirs.
    """
    content, n_before = _content_of(parts), len(parts.items)
    _check_fit(arrivals, content)
    items = IdMap([*parts.items.external(np.arange(n_before)), *arrivals.item_ids])
    vectors = np.concatenate((content.vectors, arrivals.vectors.astype(np.float16)))
    factors = np.concatenate((parts.fold_in.factors, content.factors(vectors[n_before:])))
    tables = {name: _with_rows(table, len(arrivals)) for name, table in parts.tables.items()}
    return replace(
        parts,
        items=items,
        fold_in=replace(parts.fold_in, factors=factors, held=_with_not_held(parts.fold_in, len(arrivals))),
        tables=tables | {CONTENT: _with_nearest(parts.tables[CONTENT], vectors, parts.index.ntotal)},
        categories=_with_categories(parts.categories, arrivals.categories),
        facts=ItemFacts(
            np.concatenate((parts.facts.price, arrivals.facts.price)),
            np.concatenate((parts.facts.year, arrivals.facts.year)),
        ),
        state=_with_unmet(parts.state, len(arrivals)),
        fresh=np.concatenate((parts.fresh, np.arange(n_before, len(items), dtype=np.int32))),
        content=replace(content, vectors=vectors, index=None),
    )


def with_first(parts: Parts, own: Parts, n_arrivals: int) -> Parts:
    """Return parts that grew as they were when only the first so many items had arrived.

    All is cut off there, but for nearest texts: those that came later have pushed others out of full rows.

    Parameters
    ----------
    own
        The parts before anything arrived.
    """
    if not n_arrivals:
        return own
    content, end = _content_of(parts), len(own.items) + n_arrivals
    vectors = content.vectors[:end]
    fold_in, held = parts.fold_in, parts.fold_in.held
    tables = {name: _with_rows(table, n_arrivals) for name, table in own.tables.items()}
    return replace(
        parts,
        items=IdMap(parts.items.external(np.arange(end))),
        fold_in=replace(fold_in, factors=fold_in.factors[:end], held=None if held is None else held[:end]),
        tables=tables | {CONTENT: _with_nearest(own.tables[CONTENT], vectors, parts.index.ntotal)},
        categories=_first_categories(parts.categories, end, len(own.categories.names)),
        facts=ItemFacts(parts.facts.price[:end], parts.facts.year[:end]),
        state=StatisticsState(**{name: array[:end] for name, array in parts.state.arrays().items()}),
        fresh=parts.fresh[: len(own.fresh) + n_arrivals],
        content=replace(content, vectors=vectors),
    )


def _content_of(parts: Parts) -> Content:
    """Return what the parts know of texts."""
    if parts.content is None:
        raise ContractError("a bundle without content vectors cannot take items up; train one on a catalogue of texts")
    return parts.content


def _check_fit(arrivals: Arrivals, content: Content) -> None:
    """Refuse vectors of another encoder than the bundle's."""
    wanted, found = content.vectors.shape[1], arrivals.vectors.shape
    if found != (len(arrivals), wanted):
        raise ContractError(
            f"{len(arrivals)} arrivals have vectors of shape {found}, the bundle's have {wanted} dimensions; "
            f"encode them by {content.encoder}"
        )


def _with_not_held(fold_in: FoldIn, n_more: int) -> npt.NDArray[np.bool_]:
    """Return whose factors the equations hold: those of as before, and of none that comes now."""
    before = np.ones(len(fold_in.factors), dtype=bool) if fold_in.held is None else fold_in.held
    return np.concatenate((before, np.zeros(n_more, dtype=bool)))


def _with_rows(table: NeighbourTable, n_more: int) -> NeighbourTable:
    """Return a table with so many more items, which nothing goes with."""
    more = np.full(n_more, table.offsets[-1], dtype=np.int64)
    return NeighbourTable(np.concatenate((table.offsets, more)), table.index, table.value)


def _with_nearest(table: NeighbourTable, vectors: npt.NDArray[np.float16], n_own: int) -> NeighbourTable:
    """Return the table of nearest texts with the items that it lacks, in rows of their own and in those of others.

    A row holds what is nearest of the `n_own` items that the bundle was made with, and of arrivals the nearest of those
    that come before the last of these. So what a bundle knows is found as before, whatever arrives, and items that came
    one by one are found as if they had come at once.
    """
    n_before, everything = len(table.offsets) - 1, vectors.astype(np.float32)
    table = _with_rows(table, len(vectors) - n_before)
    least = loops.least_near(table.entries, n_own, MAX_NEIGHBOURS)[:n_before]
    found = [_Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for start in range(n_before, len(vectors), _BLOCK):
        near = everything[start : start + _BLOCK] @ everything.T
        rows = np.arange(start, start + len(near))
        near[rows - start, rows] = 0
        found += _pairs(near, rows, n_own, least)
    more = _table_of(found, len(vectors))
    offsets, index, bits = loops.joined_rows(table.entries, more.entries, n_own, MAX_NEIGHBOURS)
    return NeighbourTable(offsets, index, bits.view(np.float16))


class _Pairs(NamedTuple):
    """Entries of rows: whose, of what, and how near, parallel arrays."""

    owner: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    cosine: npt.NDArray[np.float32]


def _pairs(
    near: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], n_own: int, least: npt.NDArray[np.float32]
) -> list[_Pairs]:
    """Return the entries of the rows of some arrivals, and theirs in the rows of what was there before.

    Parameters
    ----------
    near
        float32 (n, n_items), how near all items are to these.
    rows
        int64 (n,), where these stand.
    least
        float32 (n_before,), how near an item has to be to come into each row that was there before.
    """
    known, of_known = _best(near[:, :n_own])
    arrived, of_arrived = _best(near[:, n_own:])
    last = of_known.min(axis=1) if known.shape[1] == MAX_NEIGHBOURS else np.zeros(len(rows), np.float32)
    wanted, chosen = of_known > 0, of_arrived > np.maximum(last, 0).astype(np.float16)[:, None]
    place, owner = np.nonzero(near[:, : len(least)] > least)
    return [
        _Pairs(np.repeat(rows, wanted.sum(axis=1)), known[wanted], of_known[wanted]),
        _Pairs(np.repeat(rows, chosen.sum(axis=1)), arrived[chosen] + n_own, of_arrived[chosen]),
        _Pairs(owner, rows[place], near[place, owner]),
    ]


def _best(near: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return column and value of the largest entries of each row, at most `MAX_NEIGHBOURS`, in no order."""
    limit = min(MAX_NEIGHBOURS, near.shape[1])
    best = np.argpartition(-near, limit - 1, axis=1)[:, :limit]
    return best, np.take_along_axis(near, best, axis=1)


def _table_of(found: Sequence[_Pairs], n_items: int) -> NeighbourTable:
    owner, item, cosine = (np.concatenate(column) for column in zip(*found, strict=True))
    value = cosine.astype(np.float16)
    order = np.lexsort((item, -value.view(np.int16), owner))
    offsets = offsets_of(np.bincount(owner, minlength=n_items))
    return NeighbourTable(offsets, item[order].astype(np.int32), value[order])


def _with_categories(known: Categories, more: Sequence[Sequence[str]]) -> Categories:
    """Return categories of all items; names that are new come after those known."""
    names = dict.fromkeys((*known.names, *(name for entry in more for name in entry)))
    position = {name: place for place, name in enumerate(names)}
    lists = [list(dict.fromkeys(position[name] for name in entry)) for entry in more]
    index = np.array([place for entry in lists for place in entry], dtype=np.int32)
    count = np.concatenate((known.count, [len(entry) for entry in lists])).astype(np.int64)
    return Categories(tuple(names), offsets_of(count), np.concatenate((known.index, index)))


def _first_categories(categories: Categories, end: int, n_own: int) -> Categories:
    """Return categories of the items before a place, with names in the order in which they came."""
    index = categories.index[: categories.offsets[end]]
    names = categories.names[: max(n_own, int(index.max(initial=-1)) + 1)]
    return Categories(names, categories.offsets[: end + 1], index)


def _with_unmet(state: StatisticsState, n_more: int) -> StatisticsState:
    """Return statistics with so many more items, which no event has touched."""
    return StatisticsState.all_of([state, StatisticsState.empty(n_more)])
