"""What the recommender answers: ranked internal indices with score, source and cause."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING

FILL: Final = "fill"
"""Source, in written lists, of items that only fill a list up."""

NO_HISTORY: Final = "no_history"
RANKER_LATE: Final = "ranker_late"
"""Why a list is not what it could be: the user did nothing that tells of a taste; there was no time for the ranker."""


@dataclass(frozen=True, slots=True)
class Trace:
    """How one user's list came about: enough to explain it and to replay it.

    Attributes
    ----------
    candidates
        int32 (n_candidates,), internal item indices, ascending.
    rows
        float32 (n_candidates, n_features), in the order of the bundle's feature spec; empty where no ranker ran.
    ranks
        float32 (n_candidates, n_sources), rank from 1 within each source, NaN where the source did not offer it.
    scores
        float64 (n_candidates,), what the list was ordered by.
    unmet
        bool (n_candidates,), whether it was ranked as an item that nobody ever met.
    order_by
        What gave the scores: `RANKER`, `BLEND` or the name of a source.
    """

    candidates: npt.NDArray[np.int32]
    rows: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float64]
    unmet: npt.NDArray[np.bool_]
    order_by: str


@dataclass(frozen=True, slots=True)
class Recommendations:
    """Ranked lists of a batch of users.

    Attributes
    ----------
    items
        int32 (n_users, k), internal item indices, best first; `MISSING` where fewer were eligible.
    scores
        float32 (n_users, k), comparable within a list only; NaN where an item is missing.
    sources
        int8 (n_users, k), position in the bundle's `source_names` of the source that ranked the item best; -1 where
        the item only fills up the list or is missing.
    because
        int32 (n_users, k), the item of the user's history that speaks most for this one, `MISSING` where none does.
    fallback_reason
        Per user: None for a personal list by the plan, else why it is none: `NO_HISTORY` or `RANKER_LATE`.
    propensity
        float64 (n_users, k), how likely an item was to be drawn for its place, given those before it; NaN where nothing
        was drawn. None where no place is for the lot to give.
    traces
        Per user, only if asked for.
    """

    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    sources: npt.NDArray[np.int8]
    because: npt.NDArray[np.int32]
    fallback_reason: tuple[str | None, ...]
    traces: tuple[Trace, ...] = ()
    propensity: npt.NDArray[np.float64] | None = None

    def first(self, k: int) -> "Recommendations":
        """Return the first k places of each list, without traces."""
        return Recommendations(
            self.items[:, :k], self.scores[:, :k], self.sources[:, :k], self.because[:, :k], self.fallback_reason
        )

    def flat(self, source_names: Sequence[str]) -> "FlatLists":
        """Return all lists end to end, in the order of the users, without what is missing."""
        row, place = np.nonzero(self.items != MISSING)
        names = np.array([*source_names, FILL], dtype=object)
        return FlatLists(
            row,
            self.items[row, place],
            (place + 1).astype(np.int32),
            self.scores[row, place],
            names[self.sources[row, place]],
        )


@dataclass(frozen=True, slots=True)
class FlatLists:
    """Lists of many users as parallel columns, one entry an item.

    Attributes
    ----------
    row
        int64 (n,), position of the user in the batch.
    item
        int32 (n,), internal item index.
    rank
        int32 (n,), from 1 in each list.
    score
        float32 (n,).
    source
        Names (n,); `FILL` for items that no source offered.
    """

    row: npt.NDArray[np.int64]
    item: npt.NDArray[np.int32]
    rank: npt.NDArray[np.int32]
    score: npt.NDArray[np.float32]
    source: npt.NDArray[Any]
