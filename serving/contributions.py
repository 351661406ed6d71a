"""What moved the score of a listed item up or down: the ranker's own contributions (SHAP), in words."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from features.contracts.spec import Feature
from serving.deadline import Deadline, LateError
from serving.live import LiveModel
from serving.seams import Model
from training.bundle.content import NEAR_DISLIKED
from training.bundle.plan import BLEND, RANKER
from training.bundle.result import Recommendations, Trace

Floats = npt.NDArray[np.float64]
Contributions = Mapping[int, Floats]
"""Of each item, by its internal index: what each feature adds to its score, and the base: float64 (n_features + 1,)."""

STRONGEST: Final = 5
"""Contributions of each sign that are told."""

ALIKE: Final = 0.1
"""How much nearer to a disliked text than most candidates, by cosine, an item is that is said to be moved down for it:
what holds of all of them moves none.
"""

RANKED: Final = "Ordered by the ranker."
RANKED_AS_NEW: Final = (
    "Ordered by the ranker of items that nobody had acted on at training, whose scores are moved to the scale of the "
    "others."
)
NEW: Final = "Nobody acted on it yet: ordered among such items by the ranks of all sources; no feature counted."
BLENDED: Final = "Ordered by the ranks of all sources together; no ranker looked at it, so no feature counted."
ALONE: Final = "Ordered by the source {} alone; no ranker looked at it, so no feature counted."
FILLED: Final = "Fills the list up: what is popular stands below what was ranked."
POPULAR: Final = "The ranked list was not there in time: what is popular came instead."
MOVED_DOWN: Final = " It reads like what the user disliked, which moved it down from where that puts it."
LATE: Final = " What moved its score was not there in time; `X-Deadline-Ms` gives more."


async def contributions_of(
    live: LiveModel, ranked: Recommendations | None, deadline: Deadline, executor: Executor
) -> Contributions:
    """Return the contributions for the items of a list, best first, as many as there is time for.

    One takes some milliseconds: half a thousand trees are walked along every path.
    """
    found: dict[int, Floats] = {}
    if ranked is not None and ranked.traces and len(ranked.traces[0].rows):
        work = partial(_fill, found, live.model, ranked.traces[0], ranked.items[0])
        with suppress(LateError):  # what is there by then is told
            await deadline.in_thread("explain", executor, work)
    return dict(found)


def _fill(
    found: dict[int, Floats], model: Model, trace: Trace, items: npt.NDArray[np.int32], deadline: Deadline
) -> None:
    for item in items[items != MISSING].tolist():
        at = place_of(trace, item)
        if at is None:
            continue
        if not deadline.left_s("explain"):
            break
        row = model.contributions(trace.rows[at : at + 1], unmet=bool(trace.unmet[at]))
        if row is not None:
            found[item] = row[0]


def place_of(trace: Trace, item: int) -> int | None:
    """Return where an item stands among the candidates, None where it was none."""
    at = int(np.searchsorted(trace.candidates, item))
    return at if at < len(trace.candidates) and trace.candidates[at] == item else None


def told(model: Model, trace: Trace, at: int, contributions: Floats | None) -> dict[str, Any]:
    """Return what ordered the candidate at a place and, where a ranker did, its strongest contributions in words.

    `ranker_score` is the base and all contributions together. An item without a history stands in the list by that
    score on the scale of the others, and one that reads like a disliked one below it, so that `score` of its place is
    another.
    """
    if trace.order_by != RANKER:
        return {"ordered_by": trace.order_by, "said": _ranks_said(trace.order_by), "contributions": []}
    unmet = bool(trace.unmet[at])
    if model.contributions(trace.rows[:0], unmet=unmet) is None:
        return {"ordered_by": BLEND, "said": NEW, "contributions": []}
    said, by = (RANKED_AS_NEW, "fresh_ranker") if unmet else (RANKED, RANKER)
    if _is_moved_down(model, trace.rows, at):
        said += MOVED_DOWN
    if contributions is None:
        return {"ordered_by": by, "said": said + LATE, "contributions": []}
    return {
        "ordered_by": by,
        "said": said,
        "ranker_score": float(contributions.sum()),
        "base": float(contributions[-1]),
        "contributions": strongest(model.spec.features, trace.rows[at], contributions[:-1]),
    }


def _is_moved_down(model: Model, rows: npt.NDArray[np.float32], at: int) -> bool:
    names = model.spec.names
    if not model.manifest.plan.dislike or NEAR_DISLIKED not in names:
        return False
    near = np.nan_to_num(rows[:, names.index(NEAR_DISLIKED)])
    return bool(near[at] > np.median(near) + ALIKE)


def _ranks_said(order_by: str) -> str:
    return BLENDED if order_by == BLEND else ALONE.format(order_by)


def strongest(features: Sequence[Feature], row: npt.NDArray[np.float32], contributions: Floats) -> list[dict[str, Any]]:
    """Return the strongest contributions of each sign, the strongest of all first.

    Parameters
    ----------
    features
        The columns of `row`.
    contributions
        float64 (n_features,), what each adds to the score.
    """
    order = np.argsort(contributions, kind="stable").tolist()
    chosen = {
        *(place for place in order[:STRONGEST] if contributions[place] < 0),
        *(place for place in order[-STRONGEST:] if contributions[place] > 0),
    }
    return [
        {
            "name": features[place].name,
            "meaning": features[place].meaning,
            "value": None if np.isnan(row[place]) else float(row[place]),
            "contribution": float(contributions[place]),
            "words": in_words(
                features[place].meaning, float(contributions[place]), _told(features[place], float(row[place]))
            ),
        }
        for place in sorted(chosen, key=lambda place: (-abs(contributions[place]), place))
    ]


def in_words(meaning: str, contribution: float, value: str | None = None) -> str:
    """Return one contribution as a sentence, without the feature's value where none is given.

    >>> in_words("time since the user's latest event", -0.25, "2.5 (days)")
    "lowers the score by 0.25: time since the user's latest event is 2.5 (days)"
    >>> in_words("time since the user's latest event", -0.25)
    "lowers the score by 0.25: time since the user's latest event"
    """
    verb = "raises" if contribution > 0 else "lowers"
    known = "" if value is None else f" is {value}"
    return f"{verb} the score by {abs(contribution):.3g}: {meaning}{known}"


def _told(feature: Feature, value: float) -> str:
    return "unknown" if np.isnan(value) else f"{value:.4g} ({feature.unit})"


def without_values(explanation: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item's explanation without feature values: what the ranker knows of a user is not for everyone."""
    why = [
        {**one, "value": None, "words": in_words(one["meaning"], one["contribution"])}
        for one in explanation["contributions"]
    ]
    return {**explanation, "features": None, "contributions": why}
