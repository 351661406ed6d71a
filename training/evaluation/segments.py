"""Metrics of parts of what is judged: users by the length of their history, labels by the popularity of the item."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from training.evaluation.popularity import ItemPopularity, Lists
from training.evaluation.resampling import estimate_all
from training.metrics import Estimate, Floats, hits, ndcg, recall

LENGTHS: Final = ((1, 2), (3, 5), (6, 10), (11, 20), (21, 50), (51, None))
"""Bins of history length in events, both ends included."""

Labels = list[npt.NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class Segment:
    """One part: its name, how many users count in it, and estimates by method and metric."""

    name: str
    users: int
    methods: dict[str, dict[str, Estimate]]

    def to_json(self) -> dict[str, Any]:
        """Return the segment as JSON values."""
        methods = {
            method: {metric: estimate.to_json() for metric, estimate in found.items()}
            for method, found in self.methods.items()
        }
        return {"name": self.name, "users": self.users, "methods": methods}


def by_history_length(values: Mapping[str, Floats], length: npt.NDArray[np.int64], seed: int) -> list[Segment]:
    """Return NDCG@10 of users in each bin of `LENGTHS` that holds any.

    Parameters
    ----------
    values
        NDCG@10 per user (n_users,), by method.
    length
        int64 (n_users,), events in each user's history.
    """
    return _of_users(values, masks_by_length(length), seed)


def masks_by_length(length: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.bool_]]:
    """Return which users are in each bin of `LENGTHS`, bool (n_users,), by the bin's name."""
    return {
        f"{low}-{high}" if high else f"{low}+": (length >= low) & (length <= (high or length.max(initial=0)))
        for low, high in LENGTHS
    }


def light_and_heavy(values: Mapping[str, Floats], length: npt.NDArray[np.int64], seed: int) -> list[Segment]:
    """Return NDCG@10 of the half of the users with the shorter histories, and of the rest; parameters as above."""
    middle = int(np.median(length)) if len(length) else 0
    masks = {f"light: up to {middle} events": length <= middle, f"heavy: more than {middle}": length > middle}
    return _of_users(values, masks, seed)


def head_and_tail(lists: Mapping[str, Lists], labels: Labels, popularity: ItemPopularity, seed: int) -> list[Segment]:
    """Return NDCG@10 and recall@20 where only labels on head items count, and where only those on tail items do."""
    head = popularity.head
    share = f"{head.mean():.1%} of the items" if len(head) else "no items"
    return [
        _of_labels(f"head: {share}, half of the interactions", lists, restricted(labels, head), seed),
        _of_labels("tail: all other items", lists, restricted(labels, ~head), seed),
    ]


def restricted(labels: Labels, wanted: npt.NDArray[np.bool_]) -> Labels:
    """Return of each user's labels those on wanted items; `wanted` is bool (n_items,)."""
    known = [entry[entry != MISSING] for entry in labels]
    return [entry[wanted[entry]] for entry in known]


def _of_labels(name: str, lists: Mapping[str, Lists], labels: Labels, seed: int) -> Segment:
    count = np.array([len(entry) for entry in labels], dtype=np.int64)
    some = count > 0
    columns = {}
    for method, items in lists.items():
        hit = hits(items, labels)
        for metric, values in (("ndcg@10", ndcg(hit, np.maximum(count, 1), 10)), ("recall@20", _recall(hit, count))):
            columns[method, metric] = np.where(some, values, np.nan)
    found = estimate_all(columns, seed)
    methods = {method: {metric: found[method, metric] for metric in ("ndcg@10", "recall@20")} for method in lists}
    return Segment(name, int(some.sum()), methods)


def _recall(hit: npt.NDArray[np.bool_], count: npt.NDArray[np.int64]) -> Floats:
    return recall(hit, np.maximum(count, 1), 20)


def _of_users(values: Mapping[str, Floats], masks: Mapping[str, npt.NDArray[np.bool_]], seed: int) -> list[Segment]:
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    columns = {
        (name, method): np.where(mask, entry, np.nan)
        for name, mask in masks.items()
        for method, entry in values.items()
    }
    found = estimate_all(columns, seed)
    return [
        Segment(name, int(mask.sum()), {method: {"ndcg@10": found[name, method]} for method in values})
        for name, mask in masks.items()
    ]
