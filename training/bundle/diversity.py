"""Diversity: candidates put in an order in which an item that is like those above it has to be better to follow them.

Maximal marginal relevance (Carbonell and Goldstein, The Use of MMR, SIGIR 1998) over what items are like by text,
by who likes them, and by category.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from features.compiled import compiled
from features.contracts.ragged import offsets_of
from features.items import Categories

POOL: Final = 5
"""A list of k is made of the best `POOL` times k candidates: none that is worse is worth the change."""

Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Likeness:
    """What tells how alike two items are.

    Attributes
    ----------
    factors
        float32 (n_items, n_factors), of ALS or of another model of who likes what; rows of any length.
    categories
        Categories of all items.
    texts
        float16 or float32 (n_items, n_dimensions), of length 1, zeros where an item has no text; None without texts.
    """

    factors: npt.NDArray[np.floating]
    categories: Categories
    texts: npt.NDArray[np.floating] | None = None

    def of(self, items: npt.NDArray[np.int32]) -> "Alike":
        """Return the same of some items, as loops read it."""
        texts = np.empty((0, len(items)), np.float32) if self.texts is None else _columns(self.texts, items)
        has_text = np.asarray(texts.any(axis=0))
        if has_text.all():
            factors = texts[:0]  # nobody asks for them
        else:
            factors = _columns(self.factors, items)
            factors /= np.maximum(np.sqrt((factors * factors).sum(axis=0)), np.float32(1e-12))
        owner, category = self.categories.of(items)
        return Alike(
            factors,
            texts,
            has_text,
            offsets_of(np.bincount(owner, minlength=len(items))),
            category,
            np.zeros(len(self.categories.names), dtype=np.bool_),
        )

    def similarity(self, items: npt.NDArray[np.int32]) -> Doubles:
        """Return how alike each two of some items are, 0 to 1, float64 (n, n): what `diversify` looks at."""
        alike = self.of(items)
        rows = [_likeness_to(row, alike) for row in range(len(items))]
        return np.array(rows).reshape(len(items), len(items))


class Alike(NamedTuple):
    """Likeness of n candidates: `factors` and `texts` hold a column for each, of length 1 or 0.

    Categories are as in `Categories`; `marks` holds a flag for each of them, all off between loops.
    """

    factors: Singles
    texts: Singles
    has_text: npt.NDArray[np.bool_]
    offsets: npt.NDArray[np.int64]
    categories: npt.NDArray[np.int32]
    marks: npt.NDArray[np.bool_]


def diversify(items: npt.NDArray[np.int32], scores: Doubles, likeness: Likeness, k: int, strength: float) -> Places:
    """Return the places, among the candidates, of the list of k items that a strength asks for, best first.

    The first is always the candidate of the best score; with strength 0 all are in the order of their scores (ties: as
    they stand).

    Parameters
    ----------
    items, scores
        (n,): candidates in internal indices, and what they would be ordered by.
    likeness
        How alike items are.
    k
        Length of the list; it is shorter where there are fewer candidates.
    strength
        0 to 1: what likeness weighs against relevance, which is 1 for the best candidate and 0 for the k-th.
    """
    order = np.argsort(-scores, kind="stable")
    if strength <= 0 or len(order) <= 2 or k <= 1:
        return order[:k]
    pool = order[: POOL * k]
    wanted = min(k, len(pool))
    return np.asarray(pool[_pick(_relevance(scores[pool], k), likeness.of(items[pool]), wanted, min(strength, 1.0))])


def _columns(rows: npt.NDArray[np.floating], items: npt.NDArray[np.int32]) -> Singles:
    """Return a column for each of some items: the loop then runs along rows, several items at a time."""
    return np.ascontiguousarray(rows[items].astype(np.float32).T)


def _relevance(scores: Doubles, k: int) -> Doubles:
    """Return falling scores on a scale on which the first is 1 and the k-th is 0."""
    worst = scores[min(k, len(scores)) - 1]
    return np.asarray((scores - worst) / max(float(scores[0] - worst), 1e-12), dtype=np.float64)


@compiled
def _add_products(rows: Singles, column: int, sums: Singles) -> None:
    """Add to the sums the inner product of each column with one of them."""
    for row in range(len(rows)):
        factor = rows[row, column]
        for at in range(len(sums)):
            sums[at] += factor * rows[row, at]


@compiled
def _likeness_to(chosen: int, alike: Alike) -> Doubles:
    """Return how alike each candidate is to one of them, 0 to 1: by text, or else by factors, and by category."""
    n_items = len(alike.has_text)
    by_factors, by_texts = np.zeros(n_items, np.float32), np.zeros(n_items, np.float32)
    _add_products(alike.factors, chosen, by_factors)
    if alike.has_text[chosen]:
        _add_products(alike.texts, chosen, by_texts)
    own = alike.categories[alike.offsets[chosen] : alike.offsets[chosen + 1]]
    for category in own:
        alike.marks[category] = True
    found = np.empty(n_items, np.float64)
    for at in range(n_items):
        near = by_texts[at] if alike.has_text[chosen] and alike.has_text[at] else by_factors[at]
        near = min(max(near, 0.0), 1.0)
        theirs = alike.categories[alike.offsets[at] : alike.offsets[at + 1]]
        if len(own) and len(theirs):
            shared = 0
            for category in theirs:
                shared += alike.marks[category]
            near = 0.5 * (near + shared / np.sqrt(len(own) * len(theirs)))
        found[at] = near
    for category in own:
        alike.marks[category] = False
    return found


@compiled
def _pick(relevance: Doubles, alike: Alike, k: int, strength: float) -> Places:
    """Return k candidates one after the other, each the best for its relevance and its likeness to those before it."""
    nearest = np.zeros(len(relevance), np.float64)
    taken = np.zeros(len(relevance), np.bool_)
    picked = np.empty(k, np.int64)
    chosen = 0  # relevance falls: the first is the best
    for place in range(k):
        picked[place] = chosen
        taken[chosen] = True
        if place == k - 1:
            break
        near = _likeness_to(chosen, alike)
        best = -np.inf
        for at in range(len(relevance)):
            nearest[at] = max(nearest[at], near[at])
            worth = (1.0 - strength) * relevance[at] - strength * nearest[at]
            if not taken[at] and worth > best:
                best, chosen = worth, at
    return picked
