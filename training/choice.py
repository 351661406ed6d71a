"""What serves, and why: how clearly one order of candidates leads another on the same lists."""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from training.bundle.plan import BLEND, RANKER
from training.bundle.sources import SOURCES
from training.metrics import STANDARD_ERRORS

FEWEST_LEADS: Final = 6
"""Lists that another order has to change for its lead to be clear: of few values, or equal ones, no error is known.

Six of six lead by chance once in 32 times.
"""


class Lead(msgspec.Struct, frozen=True):
    """By how much an order leads the default, summed over lists, and from where on that is clear.

    Attributes
    ----------
    total
        Sum of the differences of a metric; below 0 where it trails.
    needed
        The larger of `STANDARD_ERRORS` of that sum, and of the default's handicap.
    changed, lists
        Lists on which the two differ, of how many.
    """

    total: float
    needed: float
    changed: int
    lists: int

    @property
    def mean(self) -> float:
        """Return the lead on an average list."""
        return self.total / max(self.lists, 1)

    @property
    def asked(self) -> float:
        """Return what the lead on an average list must be above to be clear."""
        return self.needed / max(self.lists, 1)

    @property
    def is_clear(self) -> bool:
        """Return whether the lead is more than chance, and than the default's handicap."""
        return self.total > self.needed and self.changed >= FEWEST_LEADS


class Choice(msgspec.Struct, frozen=True):
    """What training chose on its validation slice, and what it chose from.

    Attributes
    ----------
    order_by
        What serves: "ranker", "blend", or a source.
    chosen
        The objective, or blend of objectives, that the ranker is made of.
    ndcg
        NDCG@10 on the slice of everything that was compared.
    leads
        By how much each source and the blend lead the ranker; empty where there was nothing to compare them on.
    """

    order_by: str
    chosen: str
    ndcg: dict[str, float]
    leads: dict[str, Lead]

    @property
    def objectives(self) -> dict[str, float]:
        """Return NDCG@10 of each objective and blend of objectives that the ranker could have been made of."""
        return {name: value for name, value in self.ndcg.items() if name not in (*SOURCES, BLEND, RANKER)}


def lead_over(default: npt.NDArray[np.float64], values: npt.NDArray[np.float64], handicap: float = 0.0) -> Lead:
    """Return by how much values lead the default's; both float64 (n_lists,).

    `handicap` is the share of its own by which the default is counted better than it is.

    >>> lead_over(np.full(8, 0.5), np.full(8, 0.75), handicap=0.1)
    Lead(total=2.0, needed=0.4, changed=8, lists=8)
    """
    lead = values - default
    total = float(lead.sum())
    error = float(np.linalg.norm(lead - total / max(len(lead), 1)))  # of the total
    needed = max(STANDARD_ERRORS * error, handicap * float(default.sum()))
    return Lead(total, needed, int(np.count_nonzero(lead)), len(lead))
