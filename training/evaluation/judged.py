"""Whom to judge, and on what."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from features.contracts.profiles import Options
from training.data import Interactions


@dataclass(frozen=True, eq=False)
class Judged:
    """Users to judge.

    Attributes
    ----------
    history
        What was known before.
    users, as_of_us
        Internal indices and moments, (n_users,).
    labels
        Per user the items liked later, int32, new ones unless `include_seen`; `MISSING` stands for one that the bundle
        does not hold.
    include_seen
        Whether items that a user had are among the labels, and may be recommended.
    eligible
        bool (n_items,) or None for all: which items there were at that time.
    """

    history: Interactions
    users: npt.NDArray[np.int32]
    as_of_us: npt.NDArray[np.int64]
    labels: list[npt.NDArray[np.int32]]
    include_seen: bool = False
    eligible: npt.NDArray[np.bool_] | None = None

    def options(self, k: int) -> Options:
        """Return what lists of `k` items are asked for with."""
        return Options(k=k, include_seen=self.include_seen, eligible=self.eligible)

    @property
    def wanted(self) -> str:
        """Return in words which items are labels where they were liked later."""
        return "known items" if self.include_seen else "new known items"

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.users)

    @cached_property
    def history_length(self) -> npt.NDArray[np.int64]:
        """Return how many events each user's history holds, int64 (n_users,)."""
        offsets = self.history.by_user[1]
        return offsets[self.users + 1] - offsets[self.users]
