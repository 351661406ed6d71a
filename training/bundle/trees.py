"""LightGBM's trees as arrays, and a compiled walk through them: a third of `predict`'s time for the rows of one user.

A call of `predict` costs 50 microseconds before the first row, and it walks one row after the other. Here eight rows go
down a tree side by side, so that the processor waits for none of them. Raw scores are those of `predict`, bit for bit.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from features.compiled import compiled
from features.contracts.errors import ContractError

_ABREAST: Final = 8
"""Rows that go down a tree side by side."""
_TOLD_AT_ONCE: Final = 10
"""Trees that are read from a model at once."""


class Trees(NamedTuple):
    """Nodes of all trees of a model.

    Attributes
    ----------
    nodes
        `NODE` (n_nodes,). Of two children the right one stands behind the left one; a leaf is its own left child, and
        nothing goes right there.
    value
        float64 (n_nodes,): what a leaf adds to the score.
    roots
        uint32 (n_trees,): first node of each tree.
    """

    nodes: npt.NDArray[np.void]
    value: npt.NDArray[np.float64]
    roots: npt.NDArray[np.uint32]


NODE: Final = np.dtype(
    [("threshold", np.float32), ("left", np.uint32), ("feature", np.uint16), ("missing_right", np.uint16)]
)
"""A row goes right where its feature is above the threshold, or where it is NaN and `missing_right` is 1.

In 12 bytes, so that a walk reads few lines of memory; without a sign, so that no index is looked at for being negative.
"""


def read_trees(model: lgb.Booster) -> Trees:
    """Return the trees of a model, up to its best iteration where it knows one.

    Raises
    ------
    ContractError
        If it splits by categories or takes zeros for missing: rankers of this project do neither.
    """
    nodes: list[_Node] = []
    values: list[float] = []
    roots = []
    for tree in _dumped(model):
        roots.append(_room(1, nodes, values))
        _put(tree["tree_structure"], roots[-1], nodes, values)
    return Trees(np.array(nodes, dtype=NODE), np.array(values, dtype=np.float64), np.array(roots, dtype=np.uint32))


def _dumped(model: lgb.Booster) -> Iterator[dict[str, Any]]:
    """Give the trees of a model as LightGBM tells them: a few at a time, for each node is a dictionary of 2 kB."""
    n_trees = model.best_iteration if model.best_iteration > 0 else model.current_iteration()
    for first in range(0, n_trees, _TOLD_AT_ONCE):
        yield from model.dump_model(min(_TOLD_AT_ONCE, n_trees - first), first)["tree_info"]


_Node = tuple[np.float32, int, int, bool]
_LEAF_THRESHOLD: Final = np.float32(np.inf)


def _room(size: int, nodes: list[_Node], values: list[float]) -> int:
    """Make room for some nodes, all leaves as yet, and return the first one's number."""
    first = len(nodes)
    nodes += [(_LEAF_THRESHOLD, number, 0, False) for number in range(first, first + size)]
    values += [0.0] * size
    return first


def _put(node: dict[str, Any], number: int, nodes: list[_Node], values: list[float]) -> None:
    """Put a node into its place, and all below it behind what is there."""
    if "leaf_value" in node:
        values[number] = node["leaf_value"]
        return
    if node["decision_type"] != "<=" or node["missing_type"] == "Zero":
        raise ContractError(
            f"a ranker splits feature {node['split_feature']} by {node['decision_type']!r}, missing is "
            f"{node['missing_type']!r}; only numbers with NaN as missing are read: train without categorical features "
            "and without zero_as_missing"
        )
    # Where no NaN was seen in training, one counts as 0.
    right = not node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] < 0.0
    left = _room(2, nodes, values)
    nodes[number] = (_single(node["threshold"]), left, node["split_feature"], right)
    _put(node["left_child"], left, nodes, values)
    _put(node["right_child"], left + 1, nodes, values)


def _single(threshold: float) -> np.float32:
    """Return the largest float32 that is not above a threshold: the same float32 values are above either."""
    with np.errstate(over="ignore"):
        single = np.float32(threshold)
    return single if float(single) <= threshold else np.nextafter(single, np.float32(-np.inf))


@compiled
def _step(nodes: npt.NDArray[np.void], rows: npt.NDArray[np.float32], row: np.uint64, at: np.uint64) -> np.uint64:
    node = nodes[at]
    value = rows[row, node.feature]
    right = (value > node.threshold) | (np.isnan(value) & (node.missing_right != 0))
    return np.uint64(node.left) + np.uint64(right)


@compiled
def raw_scores(rows: npt.NDArray[np.float32], trees: Trees, n_trees: int) -> npt.NDArray[np.float64]:
    """Return the sum of what the first `n_trees` trees say of each row (n_rows, n_features): (n_rows,)."""
    n_rows, nodes, value = len(rows), trees.nodes, trees.value
    scores, at = np.zeros(n_rows), np.empty(_ABREAST, np.uint64)
    for root in trees.roots[:n_trees]:
        for start in range(0, n_rows - _ABREAST + 1, _ABREAST):
            at[:] = root
            moving = True
            while moving:
                moving = False
                for place in range(_ABREAST):
                    below = _step(nodes, rows, np.uint64(start + place), at[place])
                    moving |= below != at[place]
                    at[place] = below
            for place in range(_ABREAST):
                scores[start + place] += value[at[place]]
        for row in range(n_rows - n_rows % _ABREAST, n_rows):
            node = np.uint64(root)
            while True:
                below = _step(nodes, rows, np.uint64(row), node)
                if below == node:
                    break
                node = below
            scores[row] += value[node]
    return scores
