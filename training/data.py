"""Interactions in arrays: what training, evaluation and backtests compute with."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from features.build.replay import Start
from features.contracts.ids import IdMap
from features.contracts.profiles import Profiles
from features.contracts.ragged import entries_of, offsets_of
from features.contracts.statistics import BUCKET_US, DAY_US, StatisticEvents, StatisticsRows, weight_once
from features.contracts.weights import taken_back

VIRTUAL_SPAN_US: Final = 180 * DAY_US
"""Span of the virtual clock, for times that only order or that span less than `SHORTEST_SPAN_US`."""
SHORTEST_SPAN_US: Final = 7 * DAY_US
BUCKETS_PER_BACKTEST: Final = 1000
_ROWS_PER_STRAY: Final = 100
"""One of so many rows may lie long before all others, by a clock that was wrong: it stretches no window."""

_NOT_GIVEN: Final = (np.empty(0, dtype=np.bool_), np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64))
"""Stand for the columns `strong` and `repeat`, `rating`, and `passed_over`, until they are filled."""

Rows = npt.NDArray[np.int64]
"""Row numbers of `Interactions`, ascending."""


@dataclass(frozen=True, eq=False)
class Interactions:
    """Interactions ordered by time (ties: as the input ordered them).

    Attributes
    ----------
    users, items
        Ids behind the internal indices; both may hold more than the rows use.
    user, item
        int32 (n,), internal indices.
    weight
        float32 (n,), preference weights.
    at_us
        int64 (n,), ascending: min(occurred_at, known_at) in microseconds since 1970 UTC, or a number that only orders.
    known_us
        int64 (n,), when the event became known.
    bucket_us
        Width of a statistics bucket.
    has_clock
        False where times are virtual or only order.
    strong
        bool (n,), whether the action shows more than a look; False for all where not given.
    rating
        float32 (n,), the rating given as a share of its scale, NaN where none; NaN for all where not given.
    repeat
        bool (n,), whether the user did the same action on the item before, by (known_at, event_id), be it in rows that
        were taken away since; False for all where not given.
    passed_over
        int64 (n,), how many newer rows of the same user were left out for their items (`in_items_of`): profiles count
        them, as servers do, whose limit holds for all that a user did. 0 where not given, and for rows taken of these.
    earlier
        What items had met before the first row, at a bucket edge not after it: rows that were taken away since, or left
        out. None where the rows are all that ever were.
    counted
        What items had met by a bucket edge among the rows, before which some were taken away; None where none was.
    """

    users: IdMap
    items: IdMap
    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]
    at_us: npt.NDArray[np.int64]
    known_us: npt.NDArray[np.int64]
    bucket_us: int = BUCKET_US
    has_clock: bool = True
    strong: npt.NDArray[np.bool_] = field(default_factory=lambda: _NOT_GIVEN[0])
    rating: npt.NDArray[np.float32] = field(default_factory=lambda: _NOT_GIVEN[1])
    repeat: npt.NDArray[np.bool_] = field(default_factory=lambda: _NOT_GIVEN[0])
    passed_over: Rows = field(default_factory=lambda: _NOT_GIVEN[2])
    earlier: StatisticsRows | None = None
    counted: StatisticsRows | None = None

    def __post_init__(self) -> None:
        """Fill the columns that were not given."""
        for name in ("strong", "repeat"):
            if getattr(self, name) is _NOT_GIVEN[0]:
                object.__setattr__(self, name, np.zeros(len(self), dtype=np.bool_))
        if self.rating is _NOT_GIVEN[1]:
            object.__setattr__(self, "rating", np.full(len(self), np.nan, dtype=np.float32))
        if self.passed_over is _NOT_GIVEN[2]:
            object.__setattr__(self, "passed_over", np.zeros(len(self), dtype=np.int64))

    def __len__(self) -> int:
        """Return the number of interactions."""
        return len(self.user)

    @property
    def begin_us(self) -> int:
        """Return when the rows begin, as lengths of windows are measured; 0 without rows.

        It is the first one's time, unless the earliest hundredth of them takes up more than half of the span: then the
        time of the row after these.
        """
        if not len(self):
            return 0
        first, dense, last = self.at_us[[0, len(self) // _ROWS_PER_STRAY, -1]].tolist()
        return int(dense if dense - first > last - dense else first)

    def take(self, rows: Rows) -> "Interactions":
        """Return some of the rows, with the same ids."""
        return replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            weight=self.weight[rows],
            at_us=self.at_us[rows],
            known_us=self.known_us[rows],
            strong=self.strong[rows],
            rating=self.rating[rows],
            repeat=self.repeat[rows],
            passed_over=_NOT_GIVEN[2],
        )

    def with_items_of_rows(self) -> "Interactions":
        """Return the same rows over only the items that they touch, in the order in which the rows first do.

        Of equals the first is listed first: rows that were taken away, such as later ones, must have no say in that.
        """
        kept, first, item = np.unique(self.item, return_index=True, return_inverse=True)
        turn = np.argsort(first)
        place = np.empty(len(kept), dtype=np.int32)
        place[turn] = np.arange(len(kept), dtype=np.int32)
        return replace(self, items=IdMap(self.items.external(kept[turn])), item=place[item])

    def with_more_items(self, external_ids: Sequence[str]) -> "Interactions":
        """Return the same rows over these items too, in their order after those known already."""
        more = [external for external in dict.fromkeys(external_ids) if external not in self.items]
        return replace(self, items=IdMap([*self.items.external(np.arange(len(self.items))), *more]))

    def on_backtest_clock(self) -> "Interactions":
        """Return the rows with buckets of 1/1,000 of their span; on a virtual clock where real times are no use.

        The virtual clock spaces the rows evenly over `VIRTUAL_SPAN_US`: gaps of numbers that only order mean nothing.
        Rows of one time stay at one time.
        """
        span = int(self.at_us[-1]) - self.begin_us if len(self) else 0
        if self.has_clock and span >= SHORTEST_SPAN_US:
            return replace(self, bucket_us=max(span // BUCKETS_PER_BACKTEST, 1))
        _, first, number = np.unique(self.at_us, return_index=True, return_inverse=True)
        at_us = (first[number] * (VIRTUAL_SPAN_US / max(len(self), 1))).astype(np.int64)
        return replace(
            self,
            at_us=at_us,
            known_us=at_us,
            bucket_us=VIRTUAL_SPAN_US // BUCKETS_PER_BACKTEST,
            has_clock=False,
            earlier=None,
            counted=None,
        )

    @cached_property
    def by_user(self) -> tuple[Rows, npt.NDArray[np.int64]]:
        """Return all rows grouped by user, oldest first within one, and the users' offsets (n_users + 1,)."""
        order = np.argsort(self.user, kind="stable")
        return order, offsets_of(np.bincount(self.user, minlength=len(self.users)))

    @cached_property
    def by_known(self) -> Rows:
        """Return all rows in the order in which they became known."""
        return np.argsort(self.known_us, kind="stable")

    @cached_property
    def met(self) -> npt.NDArray[np.bool_]:
        """Return which items these rows touch, bool (n_items,): a catalogue may hold more."""
        return np.asarray(np.bincount(self.item, minlength=len(self.items)) > 0)

    def statistic_events(self) -> StatisticEvents:
        """Return all rows as item statistics read them."""
        rows = self.by_known
        weight = weight_once(self.weight[rows], self.repeat[rows])
        return StatisticEvents(self.item[rows], weight, self.strong[rows], self.rating[rows], self.known_us[rows])

    @cached_property
    def standing(self) -> npt.NDArray[np.float32]:
        """Return the weights after what these rows themselves took back, float32 (n,)."""
        pair = self.user.astype(np.int64) * max(len(self.items), 1) + self.item
        return taken_back(pair[::-1], self.weight[::-1])[::-1]

    @property
    def has_likes(self) -> bool:
        """Return whether something was liked and not taken back: else there is nothing to learn tastes from."""
        return bool((self.standing > 0).any())

    def start(self, items: IdMap | None = None) -> Start:
        """Return where a replay of these rows begins, of their items or of others."""
        items = self.items if items is None else items
        begun, then = (
            None if rows is None else Start(rows.aligned(items)[0], rows.closed_at_us)
            for rows in (self.earlier, self.counted)
        )
        return replace(begun or Start.of_nothing(len(items)), then=then)

    def profiles(self, users: npt.NDArray[np.integer], limit: int) -> Profiles:
        """Return the profiles that these rows give some users (internal indices): the latest `limit` events of each."""
        order, offsets = self.by_user
        counts = offsets[users + 1] - offsets[users]
        recent = np.minimum(counts, limit)
        ends = offsets_of(recent)
        newest = np.repeat(offsets[users + 1] - 1 + ends[:-1], recent) - np.arange(ends[-1])
        rows, owner = order[newest], np.repeat(np.arange(len(users)), recent)
        within = np.arange(ends[-1]) - ends[owner] + self.passed_over[rows] < limit
        rows, owner = rows[within], owner[within]
        seen_owner, seen_rows = entries_of(offsets, users)
        seen = np.unique(seen_owner * len(self.items) + self.item[order[seen_rows]])
        seen_owner, seen_item = seen // max(len(self.items), 1), seen % max(len(self.items), 1)
        return Profiles(
            user_ids=tuple(self.users.external(users)),
            offsets=offsets_of(np.bincount(owner, minlength=len(users))),
            item=self.item[rows],
            weight=taken_back(owner * len(self.items) + self.item[rows], self.weight[rows]),
            at_us=self.at_us[rows],
            seen_offsets=offsets_of(np.bincount(seen_owner, minlength=len(users))),
            seen_item=seen_item.astype(np.int32),
        )


def flat_lists(lists: Sequence[npt.NDArray[np.int32]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return int32 lists end to end, and their offsets (n + 1,)."""
    return offsets_of([len(entry) for entry in lists]), np.concatenate([np.empty(0, np.int32), *lists])
