"""Idle items: those of a catalogue that were there all the while, and that nobody met.

At a past moment the items that somebody was about to meet are known, and it is tempting to let these alone stand as the
new ones. When a bundle serves, they stand among all that nobody will ever want, and a ranker that never saw such fills
lists with them.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import structlog

from training.moments import Moment
from training.retrieval import Training

log = structlog.get_logger(__name__)

JUST_COME: Final = 0.5
"""Unmet items, as a share of those met, that are taken for such as have just come where nothing tells; DECISIONS.md."""


def idle_items(training: Training, moment: Moment, seed: int) -> npt.NDArray[np.bool_]:
    """Return which items with a text were there at a moment, as far as one knows, and met by nobody to this day.

    bool (n_items,). Where the catalogue tells when an item came, that decides. Of the others, those beyond `JUST_COME`
    are idle, drawn: a shop that has sold a thousand articles did not put eight thousand up last night.
    """
    interactions, texts = training.interactions, training.texts
    idle = np.zeros(len(interactions.items), dtype=bool)
    if texts is None:
        return idle
    met = interactions.met
    unmet = ~met & texts.vectors.any(axis=1)
    told = np.zeros_like(idle)
    if training.came_at is not None and interactions.has_clock and len(moment.as_of_us):
        told = ~np.isnat(training.came_at)
        idle = unmet & (training.came_at < np.datetime64(int(np.median(moment.as_of_us)), "us"))
    untold = np.flatnonzero(unmet & ~told)
    beyond = max(len(untold) - int(JUST_COME * met.sum()), 0)
    idle[np.random.default_rng(seed).permutation(untold)[:beyond]] = True
    if idle.any():
        log.info("items that nobody meets", idle=int(idle.sum()), unmet=int(unmet.sum()), met=int(met.sum()))
    return idle
