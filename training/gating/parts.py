"""The users and labels in parts, of each of which a new version may not lose too much."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from training.evaluation.popularity import ItemPopularity, Lists
from training.evaluation.segments import Labels, masks_by_length, restricted
from training.gating.evidence import Values
from training.metrics import Floats, per_user

Parts = dict[str, dict[str, tuple[Floats, Floats]]]
"""Values of candidate and champion of the users who count in a part, by its name, by metric."""


def parts_by_length(candidate: Values, champion: Values, length: npt.NDArray[np.int64]) -> Parts:
    """Return the values of users in each bin of history length, int64 (n_users,), that holds any."""
    return {
        f"users with {name} events": {
            metric: (ours[mask], champion[metric][mask]) for metric, ours in candidate.items()
        }
        for name, mask in masks_by_length(length).items()
        if mask.any()
    }


def parts_by_popularity(candidate: Lists, champion: Lists, labels: Labels, popularity: ItemPopularity) -> Parts:
    """Return the values of users with labels on head items, as if there were no others, and the same of the tail.

    Parameters
    ----------
    candidate, champion
        Lists of the judged users, int32 (n_users, k), in the items of the labels and of `popularity`.
    """
    found: Parts = {}
    for name, wanted in (("labels of the head", popularity.head), ("labels of the tail", ~popularity.head)):
        some = [row for row, entry in enumerate(restricted(labels, wanted)) if len(entry)]
        if some:
            kept = restricted([labels[row] for row in some], wanted)
            found[name] = dict(_side_by_side(candidate[some], champion[some], kept))
    return found


def _side_by_side(candidate: Lists, champion: Lists, labels: Labels) -> Iterator[tuple[str, tuple[Floats, Floats]]]:
    theirs = per_user(champion, labels)
    for metric, ours in per_user(candidate, labels).items():
        yield metric, (ours, theirs[metric])
