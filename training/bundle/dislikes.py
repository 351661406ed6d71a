"""What a dislike does to a list, whatever rankers learned of it: items that read like the disliked one stand lower."""

from typing import Final

import numpy as np
import numpy.typing as npt

LIST: Final = 20
"""By the scores of so many best candidates it is told how wide a list is: ranks put all others at next to nothing."""

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


def moved_down(scores: Doubles, near: Singles, strength: float) -> Doubles:
    """Return scores (n,) of which those are lower whose candidates read like what the user disliked.

    Parameters
    ----------
    scores
        Of candidates that are held against each other.
    near
        How near each text is to those of disliked items, cosine (n,).
    strength
        Standard deviations of the best `LIST` scores that a candidate loses whose text is that of a disliked one.
    """
    if not len(scores):
        return scores
    best = scores if len(scores) <= LIST else np.partition(scores, -LIST)[-LIST:]
    return np.asarray(scores - strength * best.std() * np.maximum(near, 0.0))
