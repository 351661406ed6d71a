"""The judging window of a training: where fitting ends, and what a bundle is judged on after that."""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.errors import ContractError
from features.contracts.ids import MISSING, IdMap
from features.contracts.ragged import offsets_of
from features.contracts.statistics import DAY_US, bucket_edge
from features.contracts.weights import ActionWeights
from training.data import Interactions
from training.evaluation.judged import Judged
from training.frames import Loaded
from training.moments import moment_of
from training.split import cutoff_split

WANTED_USERS: Final = 1000
"""Users with labels that a judging window should have, unless the gate's file says otherwise (`window_users`)."""
_WIDEST_SHARE: Final = 4
"""The window takes at most one part of so many of the whole span: the rest is for learning."""


def judging_start(interactions: Interactions, wanted_users: int = WANTED_USERS, *, include_seen: bool = False) -> int:
    """Return where the judging window begins, microseconds since 1970 UTC: nothing may be fitted on what follows.

    The window is the last day of the data, doubled until `wanted_users` have labels in it, at most a quarter of the
    span, and at most the later half of the interactions. With `include_seen` items that a user had are labels too.

    Raises
    ------
    ContractError
        If all interactions happened at one time.
    """
    begin, end = interactions.begin_us, int(interactions.at_us[-1]) + 1
    widest = min((end - begin) // _WIDEST_SHARE, end - int(interactions.at_us[len(interactions) // 2]))
    window = min(DAY_US, widest)
    while window < widest and _users_with_labels(interactions, end - window, include_seen) < wanted_users:
        window = min(2 * window, widest)
    start = bucket_edge(end - window, interactions.bucket_us)
    if start <= begin:
        raise ContractError(
            f"{len(interactions)} interactions span {(end - begin) / 1e6:.0f} s; a judging window needs events before "
            "and after it. Import events with their own times, or train later."
        )
    return start


def judged_after(
    interactions: Interactions,
    start_us: int,
    items: IdMap,
    *,
    include_seen: bool = False,
    read: Interactions | None = None,
    later: npt.NDArray[np.bool_] | None = None,
) -> Judged:
    """Return whom a bundle with these items is judged on, and on what, from a time on.

    All bundles are judged on the same users and labels: a liked item that a bundle does not hold is one that it
    misses, and stands as `MISSING` among the labels.

    Parameters
    ----------
    interactions
        Weighed alike for all bundles: what counts as liked must not depend on who is judged.
    read
        The same rows as this bundle weighs them, which is how it reads histories; the interactions by default.
    later
        bool (len(items),), which items were published after that time (`published_after`). Nobody can have shown
        them, unless somebody had met them all the same.
    """
    split = cutoff_split(interactions, start_us)
    moment = moment_of(interactions, split, start_us, include_seen=include_seen)
    of_bundle = items.index_or_missing(interactions.items.external(np.arange(len(interactions.items))))
    history = in_items_of(moment.history if read is None else read.take(split.history), items)
    return Judged(
        history=history,
        users=moment.users,
        as_of_us=moment.as_of_us,
        labels=[of_bundle[entry] for entry in moment.labels],
        include_seen=include_seen,
        eligible=None if later is None else ~later | history.met,
    )


def read_by(loaded: Loaded, weights: ActionWeights) -> Interactions:
    """Return interactions as a bundle of these weights reads them."""
    actions = loaded.action_names[loaded.action].tolist()
    return replace(
        loaded.interactions,
        weight=weights.weigh(actions, loaded.value),
        strong=weights.strong(actions),
        rating=weights.ratings(actions, loaded.value),
    )


def in_items_of(interactions: Interactions, items: IdMap) -> Interactions:
    """Return the rows whose item a bundle holds, in its internal indices; others count towards a profile's limit."""
    position = items.index_or_missing(interactions.items.external(np.arange(len(interactions.items))))
    rows = np.flatnonzero(position[interactions.item] != MISSING)
    kept, passed_over = interactions.take(rows), interactions.passed_over[rows]
    if len(kept) < len(interactions):
        order, offsets = interactions.by_user
        missed = offsets_of(position[interactions.item[order]] == MISSING)
        newer = np.empty(len(order), dtype=np.int64)
        newer[order] = missed[offsets[interactions.user[order] + 1]] - missed[1:]
        passed_over = passed_over + newer[rows]
    return replace(kept, items=items, item=position[kept.item], passed_over=passed_over)


def _users_with_labels(interactions: Interactions, start_us: int, include_seen: bool) -> int:  # noqa: FBT001
    split = cutoff_split(interactions, start_us)
    return len(moment_of(interactions, split, start_us, include_seen=include_seen).users)
