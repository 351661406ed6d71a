"""Moments: past points in time at which a ranker learns what came next, cut as the judging split is cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import structlog

from features.contracts.errors import ContractError
from features.contracts.statistics import DAY_US, bucket_edge
from training.data import Interactions
from training.split import Split, cutoff_split, holdout_split, liked_weights, new_liked_items

log = structlog.get_logger(__name__)

ENOUGH_USERS: Final = 500
"""Users with history and labels that a moment should have; DECISIONS.md."""
FEWEST_USERS: Final = 200
"""With so many a moment that is cut as the judging split teaches more than one of all users that is cut otherwise."""
FEWEST_SLICES: Final = 2
"""One to learn from and one to be validated on: what trends at one moment is learned by heart."""

MOMENTS_OF_SLICE: Final = 3
"""Moments that share a fit of retrieval."""
MOMENTS_OF_WINDOW: Final = 4
"""Into so many parts a window is cut: moments are one such part apart."""
SITTING_US: Final = DAY_US // 4
"""What a user does within so long belongs together where users are cut by position; DECISIONS.md."""
FEWEST_RETURN: Final = 0.25
"""Share of the users, at least, that must have more than one sitting, or these are cut in two."""
MOST_OF_SPAN: Final = 0.7
"""What comes before the first moment has to teach retrieval."""


@dataclass(frozen=True, eq=False)
class Moment:
    """What was known at a time, and what the users did next.

    Attributes
    ----------
    history
        Interactions known before.
    learned
        Interactions of which retrieval learns; moments that share one fit share this very object. Like a bundle that
        serves for a while, a fit may be older than the moment.
    users
        int32 (n,), internal indices of users with history and at least one label.
    as_of_us
        int64 (n,), the moment of each user: later than all of that user's history.
    labels
        Per user the new items liked next, int32 ascending.
    gains
        Per user how much each of them was liked, float32: the largest weight.
    published
        bool (n_items,), items that somebody had met, or was to meet by the end of the window of labels. When others
        came into the catalogue nothing tells: a ranker must not learn that nobody wants what nobody could have.
    """

    history: Interactions
    learned: Interactions
    users: npt.NDArray[np.int32]
    as_of_us: npt.NDArray[np.int64]
    labels: list[npt.NDArray[np.int32]]
    gains: list[npt.NDArray[np.float32]]
    published: npt.NDArray[np.bool_]

    @property
    def has_time(self) -> bool:
        """Return whether it is one time for all its users: else each user has one."""
        return bool(len(self.as_of_us)) and bool((self.as_of_us == self.as_of_us[0]).all())

    @property
    def met(self) -> npt.NDArray[np.bool_]:
        """Return which items somebody had met before, bool (n_items,): the catalogue may hold more."""
        return self.history.met


def moment_of(
    interactions: Interactions,
    split: Split,
    as_of_us: int | None,
    *,
    learned: Interactions | None = None,
    include_seen: bool = False,
) -> Moment:
    """Return the moment of a split; without a common time, each user's moment is just after the newest history row.

    Retrieval learns of the whole history, unless `learned` is given.
    """
    history, later = interactions.take(split.history), interactions.take(split.later)
    users = np.intersect1d(history.user, later.user[later.standing > 0]).astype(np.int32)
    labels = new_liked_items(history, later, users, include_seen=include_seen)
    some = np.array([len(entry) > 0 for entry in labels], dtype=bool)
    users = users[some]
    moments = newest_us(history)[users] + 1 if as_of_us is None else np.full(len(users), as_of_us, dtype=np.int64)
    labels = [entry for entry, keep in zip(labels, some, strict=True) if keep]
    gains = liked_weights(later, users, labels)
    return Moment(history, learned or history, users, moments, labels, gains, history.met | later.met)


def newest_us(history: Interactions) -> npt.NDArray[np.int64]:
    """Return the time of each user's newest row, int64 (n_users,); 0 for users without one."""
    newest = np.zeros(len(history.users), dtype=np.int64)
    newest[history.user] = history.at_us  # rows ascend in time, the last one written stays
    return newest


def position_moments(
    interactions: Interactions,
    share: float,
    count: int,
    *,
    include_seen: bool = False,
    sitting_us: int | None = None,
) -> list[Moment]:
    """Return moments that cut each user by position, the latest first: each holds out `share` of what is left.

    With `sitting_us` sittings stay whole; see `holdout_split`.

    There are fewer than `count` where histories are too short to be cut again, or nothing was liked in what is left,
    and none where no user has so many interactions that one of them can be held out.
    """
    moments: list[Moment] = []
    known = interactions
    while len(moments) < count:
        try:
            split = holdout_split(known, share, sitting_us)
        except ContractError:
            break
        moment = moment_of(known, split, None, include_seen=include_seen)
        if moments and not moment.learned.has_likes:
            break
        moments.append(moment)
        known = moment.history
    return moments


def time_moments(interactions: Interactions, until_us: int, count: int, *, include_seen: bool = False) -> list[Moment]:
    """Return moments at common times before `until_us`, the latest first: `count` slices of several moments each.

    Labels are what happens within a window after a moment: a tenth of the span and at least a day; it is doubled until
    the latest moment has `ENOUGH_USERS`, as long as all slices take at most `MOST_OF_SPAN` of the span. Where that is
    not enough, there are fewer slices of longer windows; then the plan with most users does if they are
    `FEWEST_USERS`. With fewer still, users are cut by position instead, between two sittings where enough come again,
    and that is logged. So they are on a virtual clock (numbers that only order the rows) as soon as windows of the
    first plans hold too few: how long a window is means nothing there. Where nothing was known before it, or nothing
    liked, there is no slice: a plan that is so left with fewer than `FEWEST_SLICES` does only where no other does.

    What is popular changes from moment to moment, and a ranker that saw few of them would learn these by heart: so a
    slice holds `MOMENTS_OF_SLICE`, a quarter of a window apart. Retrieval learns of what was before the first of them.
    """
    span, best = until_us - interactions.begin_us, list[Moment]()
    for slices, window in _plans(span, count, FEWEST_SLICES if interactions.has_clock else count):
        moments = _slices(interactions, until_us, window, slices, include_seen=include_seen)
        if _has_slices(moments, count) and len(moments[0].users) >= ENOUGH_USERS:
            return moments
        best = max(best, moments, key=lambda found: _worth(found, count))
    if interactions.has_clock and best and len(best[0].users) >= FEWEST_USERS:
        return best
    fallback = _sittings(interactions, count, include_seen=include_seen)
    log.info("moments by position", users=_users(fallback), wanted=FEWEST_USERS, span_days=span / DAY_US)
    return fallback


def _sittings(interactions: Interactions, count: int, *, include_seen: bool) -> list[Moment]:
    """Return moments that cut users by position, between two sittings if enough users come again.

    What comes next in a sitting is easily told by what was done a minute ago, and says little of the next visit.
    """

    def cut(sitting_us: int | None, most: int = count) -> list[Moment]:
        return position_moments(interactions, 0.2, most, include_seen=include_seen, sitting_us=sitting_us)

    between = cut(SITTING_US if interactions.has_clock else 0)
    enough = FEWEST_RETURN * _users(cut(None, most=1))  # the latest moment tells how many there are
    return between if _users(between) >= enough else cut(None)


def _users(moments: Sequence[Moment]) -> int:
    return len(moments[0].users) if moments else 0


def _has_slices(moments: list[Moment], count: int) -> bool:
    return len({id(moment.learned) for moment in moments}) >= min(FEWEST_SLICES, count)


def _worth(moments: list[Moment], count: int) -> tuple[bool, bool, int]:
    """Return by what plans are told apart: do the users suffice, do the slices, and how many users are there."""
    return _users(moments) >= FEWEST_USERS, _has_slices(moments, count), _users(moments)


def _plans(span_us: int, count: int, fewest: int) -> Iterator[tuple[int, int]]:
    """Yield how many slices to make, and windows of which length in microseconds, the best plan first."""
    for slices in range(count, min(fewest, count) - 1, -1):
        window = max(span_us // 10, DAY_US)
        while _slice_us(window) * slices <= span_us * MOST_OF_SPAN:
            yield slices, window
            window *= 2


def _slice_us(window_us: int) -> int:
    return window_us + (MOMENTS_OF_SLICE - 1) * (window_us // MOMENTS_OF_WINDOW)


def _slices(
    interactions: Interactions, until_us: int, window_us: int, count: int, *, include_seen: bool
) -> list[Moment]:
    moments: list[Moment] = []
    for number in range(count):
        start = until_us - (number + 1) * _slice_us(window_us)
        learned: Interactions | None = None
        for step in range(MOMENTS_OF_SLICE):
            at = bucket_edge(start + step * (window_us // MOMENTS_OF_WINDOW), interactions.bucket_us)
            known = interactions.take(np.flatnonzero(interactions.at_us < at + window_us))
            try:
                split = cutoff_split(known, at)
            except ContractError:
                break
            moment = moment_of(known, split, at, learned=learned, include_seen=include_seen)
            if not moment.learned.has_likes:
                break
            moments.append(moment)
            learned = moment.learned
    return moments
