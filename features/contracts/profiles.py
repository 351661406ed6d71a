"""What is known of users: their histories as a store reads them, and as arrays that the recommender computes with."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ragged import entries_of, offsets_of

HISTORY_LIMIT: Final = 500
"""Latest events of a user that features and fold-in read; a bundle's manifest holds its own value."""


@dataclass(frozen=True, slots=True)
class UserHistory:
    """One user's latest interactions in external ids, newest first (by `at_us`, then `event_id`, descending).

    The columns are parallel lists of one length, at most the bundle's history limit. `at_us` is
    min(occurred_at, known_at) in microseconds since 1970 UTC; `values` holds NaN where an event carried none.
    `seen_item_ids` is the complete set of items that the user ever touched, in no order. `digest` is the same for two
    readings of a store exactly if they hold the same events and items, None where nothing is known.
    """

    user_id: str
    event_ids: Sequence[str] = ()
    item_ids: Sequence[str] = ()
    actions: Sequence[str] = ()
    values: Sequence[float] = ()
    at_us: Sequence[int] = ()
    seen_item_ids: Sequence[str] = ()
    digest: int | None = None


@dataclass(frozen=True, slots=True)
class Profiles:
    """Histories of a batch of users as arrays over internal item indices; items that the bundle lacks are left out.

    Attributes
    ----------
    user_ids
        External ids, one per user of the batch.
    offsets
        int64 (n_users + 1,): user u owns the events offsets[u]:offsets[u + 1], newest first.
    item
        int32 (n_events,), internal item index.
    weight
        float32 (n_events,), preference by `ActionWeights`; 0 = seen, but no sign of liking; below 0 = dislike.
    at_us
        int64 (n_events,), microseconds since 1970 UTC.
    seen_offsets, seen_item
        The same layout for the complete set of seen items (int64 and int32), sorted ascending within a user.
    """

    user_ids: tuple[str, ...]
    offsets: npt.NDArray[np.int64]
    item: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]
    at_us: npt.NDArray[np.int64]
    seen_offsets: npt.NDArray[np.int64]
    seen_item: npt.NDArray[np.int32]

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.user_ids)

    def events(self, user: int) -> slice:
        """Return where the events of the batch's user number `user` stand."""
        return slice(int(self.offsets[user]), int(self.offsets[user + 1]))

    def seen(self, user: int) -> npt.NDArray[np.int32]:
        """Return internal indices of all items that the batch's user number `user` ever touched, ascending."""
        return self.seen_item[self.seen_offsets[user] : self.seen_offsets[user + 1]]

    def with_seen(self, owner: npt.NDArray[np.integer], item: npt.NDArray[np.int32]) -> "Profiles":
        """Return the same histories of users who touched more: number `owner[n]` of the batch touched `item[n]`."""
        had = np.repeat(np.arange(len(self)), np.diff(self.seen_offsets))
        owners, items = np.concatenate((had, owner)), np.concatenate((self.seen_item, item))
        width = int(items.max(initial=0)) + 1
        pairs = np.unique(owners * width + items)
        return replace(
            self,
            seen_offsets=offsets_of(np.bincount(pairs // width, minlength=len(self))),
            seen_item=(pairs % width).astype(np.int32),
        )

    def take(self, users: npt.NDArray[np.integer]) -> "Profiles":
        """Return the profiles of some users of the batch, in the order asked for."""
        rows, seen_rows = (entries_of(offsets, users)[1] for offsets in (self.offsets, self.seen_offsets))
        return Profiles(
            user_ids=tuple(self.user_ids[u] for u in users.tolist()),
            offsets=offsets_of(np.diff(self.offsets)[users]),
            item=self.item[rows],
            weight=self.weight[rows],
            at_us=self.at_us[rows],
            seen_offsets=offsets_of(np.diff(self.seen_offsets)[users]),
            seen_item=self.seen_item[seen_rows],
        )


@dataclass(frozen=True, slots=True)
class Options:
    """What one request asks for, in internal indices, the same for all users of the batch.

    Attributes
    ----------
    k
        Items wanted per user; fewer come back only where fewer are eligible.
    exclude
        int32, items that must not come back, whatever the user saw.
    eligible
        bool (n_items,) or None for all: what rules and live item state allow.
    candidates
        int32 or None: rank exactly these items instead of retrieving.
    include_seen
        Whether items that the user already had may come back; None = as the bundle's plan says.
    fill
        Whether a list that retrieval leaves short is filled up with any eligible items.
    fresh_share
        At least this share of the places goes to items that nobody has acted on yet, 0 to 1, where there are some.
    fresh_draw
        How likely it is for each of these places that what stands there is drawn by lot, 0 to 1; else it is the best.
    seed
        Of the lot: the same draws the same.
    diversity
        How much a list avoids items that are like those above them, 0 (not at all) to 1.
    """

    k: int = 20
    exclude: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    eligible: npt.NDArray[np.bool_] | None = None
    candidates: npt.NDArray[np.int32] | None = None
    include_seen: bool | None = None
    fill: bool = True
    fresh_share: float = 0.0
    fresh_draw: float = 0.0
    seed: str = ""
    diversity: float = 0.0
