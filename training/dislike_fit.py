"""How far down a dislike moves what reads like it: as far as costs nothing on the validation slice."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import structlog

from training.bundle.content import NEAR_DISLIKED
from training.bundle.dislikes import moved_down
from training.bundle.offered import SPEC
from training.groups import Group
from training.metrics import Floats

log = structlog.get_logger(__name__)

STRENGTHS: Final = (1.0, 0.5, 0.25)
"""Of `Plan.dislike`. Never none: who dislikes something wants less of its like, even where that is liked by many."""
FEWEST: Final = 20
"""Lists of users who dislike something, and to whom something liked was offered, that tell what it costs, at least."""
_NEAR: Final = SPEC.names.index(NEAR_DISLIKED)


def strength_of_dislikes(groups: Sequence[Group], scores: Sequence[Floats]) -> float:
    """Return the largest of `STRENGTHS` by which lists are as good as without, else the smallest.

    Parameters
    ----------
    groups, scores
        Candidates on the latest slice, and what orders them there, nothing of which was learned there.
    """
    values: dict[float, list[float]] = {strength: [] for strength in (0.0, *STRENGTHS)}
    for group, known in zip(groups, scores, strict=True):
        near = np.nan_to_num(group.rows[:, _NEAR])
        if group.hit.any() and (near > 0).any():
            for strength, found in values.items():
                found.append(group.ndcg(moved_down(known, near, strength)))
    without, *_ = values.values()
    if len(without) < FEWEST:
        return STRENGTHS[-1]
    chosen = next((strength for strength in STRENGTHS if sum(values[strength]) >= sum(without)), STRENGTHS[-1])
    means = {f"{strength:g}": float(np.mean(found)) for strength, found in values.items()}
    log.info("dislikes", strength=chosen, lists=len(without), ndcg=means)
    return chosen
