"""All texts that can be searched now, by one encoder: a bundle's own index, and segments of what is newer.

Segments are like those of a log-structured index: what is new makes a small one, small ones are joined as they grow, so
that a text is indexed a few times in all, and a search looks into a handful of indexes. They are immutable, and so is
what holds them: a search keeps the one that it started with.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING, IdMap
from features.text.encoder import Encoder, Query
from features.text.search import TextIndex
from features.text_store import TextRows
from serving.item_states import ItemTable, Mask

SMALL: Final = 1_000
"""Rows of a segment that is joined with whatever is new."""
RATIO: Final = 4
"""A segment is joined with newer ones once they hold this fraction of its rows or more."""


@dataclass(frozen=True, eq=False, slots=True)
class Segment:
    """Some texts and their index, row by row.

    Attributes
    ----------
    items
        External ids, in the order of the rows.
    index
        Their texts.
    table
        What these items are now.
    alive
        bool (n,), False where an item's text has changed since and stands in a newer segment.
    rows
        What the index was made of; empty for a bundle's own index, which is joined with nothing.
    """

    items: IdMap
    index: TextIndex
    table: ItemTable
    alive: Mask
    rows: TextRows

    @classmethod
    def of(cls, table: ItemTable, index: TextIndex, rows: TextRows | None = None) -> "Segment":
        """Return the segment of some items, all of whose texts stand in it."""
        alive = np.ones(len(table.items), dtype=np.bool_)
        return cls(table.items, index, table, alive, TextRows.empty() if rows is None else rows)

    def eligible(self, as_of_us: int, asked: "Filter") -> Mask:
        """Return which rows may be found, bool (n,); in the event loop only.

        Texts and states are read at different moments: what has a text and no state yet may be hidden.
        """
        shown = self.table.existing() if asked.include_hidden else self.table.visible(as_of_us)
        mask = self.alive & shown
        if self.table.loaded:
            mask &= self.table.known()
        if asked.categories:
            mask &= self.table.in_categories(asked.categories)
        if asked.exclude:
            rows = self.items.index_or_missing(asked.exclude)
            mask[rows[rows != MISSING]] = False
        return mask

    def row_of(self, item_id: str) -> int | None:
        """Return the row of an item whose present text stands here, None where it does not."""
        row = int(self.items.index_or_missing([item_id])[0])
        return row if row != MISSING and self.alive[row] else None

    def without(self, item_ids: Sequence[str]) -> "Segment":
        """Return the segment in which the texts of some items are no longer found."""
        rows = self.items.index_or_missing(item_ids)
        rows = rows[rows != MISSING]
        if not self.alive[rows].any():
            return self
        alive = self.alive.copy()
        alive[rows] = False
        return replace(self, alive=alive)


@dataclass(frozen=True, slots=True)
class Filter:
    """What may be found: nothing hidden, and only of some categories, if any are named."""

    categories: Sequence[str] = ()
    exclude: Sequence[str] = ()
    include_hidden: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """An item that was found; scores are comparable among all segments of one encoder."""

    item_id: str
    score: float


@dataclass(frozen=True, eq=False, slots=True)
class Texts:
    """All texts by one encoder.

    Attributes
    ----------
    digest
        Names the encoder.
    encoder
        None where it cannot be loaded: neighbours of items are found all the same, queries are not.
    fault
        Why it cannot.
    base
        A bundle's own index.
    newer
        The others, the oldest first.
    since_us
        What was embedded since then is in `newer`, microseconds since 1970 UTC; so is what is older, but of items that
        the bundle lacks.
    newest_us
        The newest embedding that was read.
    loaded
        Whether all that was there has been read once.
    """

    digest: str
    encoder: Encoder | None = None
    fault: str | None = None
    base: Segment | None = None
    newer: tuple[Segment, ...] = ()
    since_us: int = 0
    newest_us: int = 0
    loaded: bool = False

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Return all segments."""
        return self.newer if self.base is None else (self.base, *self.newer)

    @property
    def n_texts(self) -> int:
        """Return the number of texts that can be found."""
        return sum(int((segment.alive & segment.table.existing()).sum()) for segment in self.segments)

    def news(self, keys: dict[str, int]) -> list[str]:
        """Return those of some items whose text was embedded at another moment than the one that is here."""
        waiting = dict(keys)
        for segment in self.newer:
            for item_id, row in _places(segment.items, waiting):
                if segment.alive[row] and segment.rows.embedded_us[row] == waiting[item_id]:
                    del waiting[item_id]
        return list(waiting)

    def lacking(self, item_ids: Iterable[str]) -> list[str]:
        """Return those of some items whose text is not here."""
        held = [segment.items for segment in self.segments]
        return [item_id for item_id in item_ids if not any(item_id in items for items in held)]

    def eligible(self, as_of_us: int, asked: Filter) -> list[Mask]:
        """Return which rows of each segment may be found; in the event loop only."""
        return [segment.eligible(as_of_us, asked) for segment in self.segments]

    def search(self, query: Query, k: int, eligible: Sequence[Mask]) -> list[Hit]:
        """Return the at most k texts that match a query best, best first."""
        found = (
            (segment, *segment.index.search(query, k, mask))
            for segment, mask in zip(self.segments, eligible, strict=True)
        )
        return _best(found, k)

    def nearest(self, vector: npt.NDArray[np.float32], k: int, eligible: Sequence[Mask]) -> list[Hit]:
        """Return the at most k texts nearest to a vector of length 1 by cosine, best first."""
        found = (
            (segment, *segment.index.nearest(vector, k, mask))
            for segment, mask in zip(self.segments, eligible, strict=True)
        )
        return _best(found, k)

    def vector(self, item_id: str) -> npt.NDArray[np.float32] | None:
        """Return the vector of an item's present text, None where it is not here."""
        for segment in reversed(self.segments):
            row = segment.row_of(item_id)
            if row is not None:
                return np.asarray(segment.index.vectors[row], dtype=np.float32)
        return None


def joined_rows(texts: Texts, rows: TextRows) -> tuple[tuple[Segment, ...], TextRows]:
    """Return the segments that stay once some texts are new, and the rows of the one that is to follow them.

    Of the last segments all that are small beside what follows them are joined with it.
    """
    kept = [segment.without(rows.item_ids) for segment in texts.newer]
    parts, size = [rows], len(rows)
    while kept and (len(kept[-1].alive) <= SMALL or len(kept[-1].alive) <= RATIO * size):
        segment = kept.pop()
        whole = segment.rows if segment.alive.all() else segment.rows.take(np.flatnonzero(segment.alive))
        parts.append(whole)
        size += len(whole)
    return tuple(kept), TextRows.all_of(parts[::-1])


def rows_of(texts: Texts, item_ids: Sequence[str]) -> TextRows:
    """Return the texts of some items that are newer than the bundle's own, in the order in which they are asked for."""
    parts: list[TextRows] = []
    for segment in texts.newer:
        rows = segment.items.index_or_missing(item_ids)
        rows = rows[rows != MISSING]
        parts.append(segment.rows.take(rows[segment.alive[rows]]))
    found = TextRows.all_of(parts)
    place = IdMap(found.item_ids).index_or_missing(item_ids)
    return found.take(place[place != MISSING])


def _places(items: IdMap, item_ids: Iterable[str]) -> list[tuple[str, int]]:
    """Return those of some ids that a map holds, and where."""
    asked = list(item_ids)
    rows = items.index_or_missing(asked).tolist()
    return [(item_id, row) for item_id, row in zip(asked, rows, strict=True) if row != MISSING]


def _best(found: Iterable[tuple[Segment, npt.NDArray[np.int32], npt.NDArray[np.float32]]], k: int) -> list[Hit]:
    """Return the best of what several segments found; of equal scores the one of the earlier segment first."""
    hits = [
        Hit(item_id, score)
        for segment, rows, scores in found
        for item_id, score in zip(segment.items.external(rows), scores.tolist(), strict=True)
    ]
    return sorted(hits, key=lambda hit: -hit.score)[:k]
