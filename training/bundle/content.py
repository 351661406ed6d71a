"""What a bundle knows of its items by their texts alone: content vectors, and the map from these to item factors."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.spec import Feature
from features.text.search import TextIndex
from training.bundle.sources import User

PROMISE: Final = "text_popularity"
TASTE: Final = "text_taste"
NEAR_DISLIKED: Final = "text_disliked"
LATEST: Final = 5
LONGEST: Final = 20
"""Latest liked items, and disliked ones, that a candidate's text is compared with."""

ENOUGH_TEXTS: Final = 20_000
"""Of so many texts or more, evenly chosen, what they promise is taken for what is usual."""
_NARROW: Final = 1e-6
"""A deviation below which texts promise all the same: then none stands out."""

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Content:
    """Texts of all items as numbers, in the bundle's internal order.

    Attributes
    ----------
    encoder
        Digest of the encoder whose vectors these are.
    vectors
        float16 (n_items, n_dimensions), of length 1; zeros where an item has no text.
    mapping
        float32 (n_dimensions + 1, n_factors + 1), from a vector to item factors and, last, the log of 1 + the item's
        liking events; the last row is added to all.
    usual
        float32 (n_factors + 2, n_factors + 1), what the map promised of the texts of training (`usual_of`).
    until_us
        Texts that were known before are in `vectors`, microseconds since 1970 UTC.
    index
        Search in these texts; None where nobody searches.
    """

    encoder: str
    vectors: npt.NDArray[np.float16]
    mapping: Singles
    usual: Singles
    until_us: int
    index: TextIndex | None = None

    @cached_property
    def has_text(self) -> npt.NDArray[np.bool_]:
        """Return which items have a text, bool (n_items,)."""
        return np.asarray(self.vectors.any(axis=1))

    @cached_property
    def popularity(self) -> Singles:
        """Return how popular items are if one goes by their texts alone: log of 1 + liking events, (n_items,)."""
        return mapped(self.vectors, self.mapping[:, -1:]).ravel()

    def factors_of(self, items: npt.NDArray[np.int32]) -> Singles:
        """Return the factors that the texts of some items promise, float32 (n, n_factors)."""
        return self.factors(self.vectors[items])

    def factors(self, vectors: npt.NDArray[np.floating]) -> Singles:
        """Return the item factors that texts alone promise, float32 (n, n_factors)."""
        return mapped(vectors, self.mapping[:, :-1])

    def taste_for(self, vector: Singles, items: npt.NDArray[np.int32]) -> Singles:
        """Return how much more than usual the texts of items promise along a user's vector, in deviations, (n,)."""
        mean, spread = self.usual[0, :-1], self.usual[1:-1, :-1]
        return _in_deviations((self.factors_of(items) - mean) @ vector, float(vector @ spread @ vector))

    def promise_of(self, items: npt.NDArray[np.int32]) -> Singles:
        """Return how much more popularity than usual the texts of items promise, in deviations, float32 (n,)."""
        return _in_deviations(self.popularity[items] - self.usual[0, -1], float(self.usual[-1, -1]))


def mapped(vectors: npt.NDArray[np.floating], mapping: Singles) -> Singles:
    """Return what content vectors promise (n, n_columns), by columns of a map as `Content.mapping` is one."""
    return np.asarray(vectors.astype(np.float32) @ mapping[:-1] + mapping[-1], dtype=np.float32)


def texts_told_of(has_text: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the items, at most about twice `ENOUGH_TEXTS`, whose texts say what is usual."""
    told = np.flatnonzero(has_text)
    return told[:: max(len(told) // ENOUGH_TEXTS, 1)]


def usual_of(promised: Singles) -> Singles:
    """Return mean and, below it, covariance of what texts promise, float32 (n_columns + 1, n_columns).

    With more data factors become longer and counts larger: what is learned of promises at an earlier moment holds at a
    later one only if they are told beside what is usual there. Without a text nothing is usual: zeros.
    """
    if not len(promised):
        return np.zeros((promised.shape[1] + 1, promised.shape[1]), dtype=np.float32)
    covariance = np.atleast_2d(np.cov(promised, rowvar=False, bias=True))
    return np.vstack((promised.mean(axis=0), covariance)).astype(np.float32)


def _in_deviations(beyond: npt.NDArray[np.floating], variance: float) -> Singles:
    width = float(np.sqrt(max(variance, 0.0)))
    return np.asarray(beyond / width if width > _NARROW else np.zeros_like(beyond), dtype=np.float32)


def content_features() -> list[Feature]:
    """Return the columns that `content_columns` gives, in its order."""
    of, new = "cosine of the item's text with", "cosine of an unmet item's text with"
    return [
        Feature("text_last", f"{new} that of the latest liked item", "-1..1", "content"),
        Feature(f"text_{LATEST}", f"mean {new} those of the latest {LATEST}", "-1..1", "content"),
        Feature(f"text_best_{LONGEST}", f"largest {new} those of the latest {LONGEST}", "-1..1", "content"),
        Feature(NEAR_DISLIKED, f"largest {of} those of the latest {LONGEST} disliked items", "-1..1", "content"),
        Feature(
            TASTE,
            "deviations by which an unmet item's text promises more along the user's vector than texts do on average",
            "-..",
            "content",
        ),
        Feature(
            PROMISE,
            "deviations by which an unmet item's text promises more liking events than texts do on average, in logs",
            "-..",
            "content",
        ),
    ]


def content_columns(
    content: Content | None, user: User, candidates: npt.NDArray[np.int32], is_fresh: npt.NDArray[np.bool_]
) -> Singles:
    """Return what candidates' texts say, float32 (n_candidates, len(content_features())).

    NaN where the candidate, or all that it would be compared with, has no text. Where a candidate has a history, who
    liked it says more than its text, and a ranker that is told both orders worse (DECISIONS.md): there only nearness to
    what was disliked is told. `is_fresh` (n_items,) says which have none.
    """
    columns = np.full((len(candidates), 6), np.nan, dtype=np.float32)
    if content is None or not len(candidates):
        return columns
    told = content.has_text[candidates]
    near = nearness_to_disliked(content, user, candidates)
    if near is not None:
        columns[told, 3] = near[told]
    new = np.flatnonzero(told & is_fresh[candidates])
    if len(new):
        _tell_of_new(columns, new, content, user, candidates[new])
    return columns


def nearness_to_disliked(content: Content, user: User, items: npt.NDArray[np.int32]) -> Singles | None:
    """Return how near texts of items are to those of the latest disliked ones, at most: cosine, float32 (n,).

    0 where an item has no text; None where nothing that has one was disliked.
    """
    disliked = _texts_of(content, user.item[np.flatnonzero(user.weight < 0)[:LONGEST]])
    if not len(disliked):
        return None
    near, told = np.zeros(len(items), dtype=np.float32), content.has_text[items]
    near[told] = (_texts_of(content, items) @ disliked.T).max(axis=1, initial=-1.0)
    return near


def _tell_of_new(
    columns: Singles, rows: npt.NDArray[np.int64], content: Content, user: User, items: npt.NDArray[np.int32]
) -> None:
    """Write into some rows what is told of items without a history, all of which have a text."""
    own = _texts_of(content, items)
    liked = _texts_of(content, user.liked_items[:LONGEST])
    if len(liked):
        near = own @ liked.T
        columns[rows, 0] = near[:, 0]
        columns[rows, 1] = near[:, :LATEST].mean(axis=1)
        columns[rows, 2] = near.max(axis=1)
    if user.vector is not None:
        columns[rows, 4] = content.taste_for(user.vector, items)
    columns[rows, 5] = content.promise_of(items)


def _texts_of(content: Content, items: npt.NDArray[np.int32]) -> Singles:
    """Return the vectors of those of some items that have a text."""
    return content.vectors[items[content.has_text[items]]].astype(np.float32)
