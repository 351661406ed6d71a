"""Items without a history among those that have one: what their rows hold, and where they stand in a list."""

from typing import Final

import numpy as np
import numpy.typing as npt

from features.items import ItemView
from training.bundle.content import PROMISE, TASTE
from training.bundle.offered import SPEC
from training.bundle.plan import FreshPlan
from training.bundle.ranker import Ranker
from training.bundle.result import Trace
from training.bundle.sources import BY_TEXT

_OF_ITEM: Final = slice(SPEC.names.index("popular_1h_rank"), SPEC.names.index("item_year"))
"""Columns that tell of an item's history: popularity, age, pace, shares."""
_POPULARITY_GAPS: Final = np.array([SPEC.names.index(name) for name in ("popularity_gap", "popularity_gap_5")])
_OF_POOL: Final = np.array(
    [*(SPEC.names.index(f"{name}_{of}") for name in BY_TEXT for of in ("rank", "relative"))]
    + [SPEC.names.index(name) for name in ("offers", "blend_relative")]
)
"""Columns that compare new items with each other: among few the best is no better than among many."""
_TASTE: Final = SPEC.names.index(TASTE)
_PROMISE: Final = SPEC.names.index(PROMISE)
_EVENTS: Final = SPEC.names.index("user_events")
_LIKED: Final = SPEC.names.index("user_liked")
_AGE_GAPS: Final = np.array([SPEC.names.index(name) for name in ("age_gap", "age_gap_5")])

WARY: Final = 5.0
"""Liked events after which what a text promises everybody counts half as much as without any; DECISIONS.md."""

_LEAST_STEP: Final = 1e-6
"""Between new items beyond known ones that are all scored alike."""

Doubles = npt.NDArray[np.float64]


def forget_history(rows: npt.NDArray[np.float32], candidates: npt.NDArray[np.int32], view: ItemView) -> None:
    """Write into feature rows (n, n_features) what those of items hold that nobody ever met.

    The few events that came after a bundle was made would be columns of which its ranker of new items learned nothing.
    Nor does it learn by how many others there are: an item that is the only new one is first in every source.
    """
    rows[:, _OF_POOL] = np.nan
    rows[:, _OF_ITEM] = view.unmet_columns[: _OF_ITEM.stop - _OF_ITEM.start]
    rows[:, _POPULARITY_GAPS] -= view.log_count[candidates, None].astype(np.float32)
    rows[:, _AGE_GAPS] = np.nan


def along_taste(rows: npt.NDArray[np.float32]) -> Doubles:
    """Return `text_taste` of feature rows (n, n_features), 0 where it is unknown: float64 (n,)."""
    return np.nan_to_num(rows[:, _TASTE]).astype(np.float64)


def by_promise(rows: npt.NDArray[np.float32], how: FreshPlan) -> Doubles:
    """Return what promised popularity adds to scores of feature rows (n, n_features): float64 (n,).

    Their ranker learned of users with long histories. Of somebody who liked one thing it reads a taste as if it were
    known; what a text promises everybody is the safer guess then.
    """
    liked = np.nan_to_num(rows[:, _EVENTS] * rows[:, _LIKED]).astype(np.float64)
    beyond = np.nan_to_num(rows[:, _PROMISE].astype(np.float64) - how.promised)
    return np.asarray(how.promise * WARY / (WARY + liked) * beyond)


def own_scores(ranker: Ranker, rows: npt.NDArray[np.float32], how: FreshPlan | None) -> Doubles:
    """Return what orders new items among themselves, of feature rows (n, n_features): float64 (n,).

    A ranker learns from known items taken for new ones. What it learned of how these differ from truly new ones is
    wrong; the map from texts to factors knows of no such difference.
    """
    scores = ranker.scores(rows)
    return scores if how is None else scores + how.taste * along_taste(rows) + by_promise(rows, how)


def own_contributions(ranker: Ranker, rows: npt.NDArray[np.float32], how: FreshPlan | None) -> Doubles:
    """Return what each feature adds to `own_scores`, and the base: float64 (n, n_features + 1)."""
    found = ranker.contributions(rows)
    if how is not None:
        found[:, _TASTE] += how.taste * along_taste(rows)
        found[:, _PROMISE] += by_promise(rows, how)
    return found


def placed(own: Doubles, known: Doubles, how: FreshPlan | None) -> Doubles:
    """Return the scores of candidates without a history on the scale of the others.

    Places are compared, not scores: those of a ranker that was fitted again spread otherwise than when both kinds were
    held against each other.

    Parameters
    ----------
    own
        float64 (n,), what orders them among themselves.
    known
        float64 (n_known,), scores of the candidates with a history.
    how
        Where they stand; below all others if it says so, or is None.
    """
    if how is not None and how.joins and len(known):
        fewer = min(np.log(len(known) / max(how.candidates, 1.0)), 0.0)
        return _at_places(how.offset - how.slope * own + fewer, known)
    return np.asarray(own - own.max(initial=0.0) + known.min(initial=0.0) - 1)


def _at_places(log_place: Doubles, known: Doubles) -> Doubles:
    """Return the scores that stand at some places, by their logarithms, among known scores; beyond both ends, too."""
    ladder = np.sort(known)[::-1]
    steps = np.log(np.arange(1, len(ladder) + 1))
    inside = np.clip(log_place, 0.0, steps[-1])
    beyond = max(float(ladder[0] - ladder[-1]) / len(ladder), _LEAST_STEP) * (log_place - inside)
    return np.asarray(np.interp(inside, steps, ladder) - beyond)


def merged(known: Trace, fresh: Trace) -> Trace:
    """Return the candidates of both, by index; what is in both stands where its score is the higher."""
    items, scores = np.concatenate((known.candidates, fresh.candidates)), np.concatenate((known.scores, fresh.scores))
    order = np.lexsort((-scores, items))
    order = order[np.diff(items[order], prepend=-1) != 0]
    rows = np.concatenate((known.rows, fresh.rows))
    ranks = np.concatenate((known.ranks, fresh.ranks))
    unmet = np.concatenate((known.unmet, fresh.unmet))
    rows = rows[order] if len(rows) else rows
    return Trace(items[order], rows, ranks[order], scores[order], unmet[order], known.order_by)
