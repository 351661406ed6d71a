"""What comparing two versions found."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.diff.exposure import Exposure
from training.diff.judged import Verdicts
from training.diff.sample import Sample
from training.diff.sides import Side
from training.diff.speed import Speed
from training.metrics import Estimate, Floats


@dataclass(frozen=True, slots=True)
class Place:
    """One place of a list: title, and its rank in the other version's list, None where it is not there."""

    title: str
    other_rank: int | None


@dataclass(frozen=True, slots=True)
class Pair:
    """One user without a name: how many events, the latest items newest first, and both lists."""

    segment: str
    events: int
    history: list[str]
    first: list[Place]
    second: list[Place]
    overlap: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How much the lists of some users agree: overlap of the first ten and rank-biased overlap, with intervals."""

    name: str
    users: int
    overlap: Estimate
    rank_biased: Estimate


@dataclass(frozen=True, eq=False)
class Diff:
    """Two versions side by side.

    Attributes
    ----------
    sides
        First and second; the second is the newer one in most uses.
    data
        Where users and histories come from, in words.
    sample
        Whose lists were compared.
    overlaps
        Overlap of the first ten items of each user, float64 (n_users,).
    agreement
        Of all users, then by segment.
    exposure, verdicts, speed
        What is shown, which one is better, and how long a list takes.
    pairs
        Some users' lists side by side.
    """

    sides: tuple[Side, Side]
    data: str
    sample: Sample
    overlaps: Floats
    agreement: list[Agreement]
    exposure: Exposure
    verdicts: Verdicts
    speed: Speed
    pairs: list[Pair]

    @property
    def names(self) -> tuple[str, str]:
        """Return what tables call the versions."""
        return self.sides[0].name, self.sides[1].name

    @property
    def name(self) -> str:
        """Return what its files are called: both version numbers."""
        return "-".join(side.version.version for side in self.sides)

    def to_json(self) -> dict[str, Any]:
        """Return its main numbers as JSON values."""
        first, second = self.exposure.leanings
        return {
            "first": self.sides[0].version.version,
            "second": self.sides[1].version.version,
            "data": self.data,
            "users": len(self.sample),
            "overlap@10": self.agreement[0].overlap.to_json(),
            "rank_biased_overlap": self.agreement[0].rank_biased.to_json(),
            "coverage@10": [first.coverage, second.coverage],
            "novelty@10": [first.novelty.mean, second.novelty.mean],
            "judged_users": self.verdicts.users,
            "not_judged": self.verdicts.why_not,
            "metrics": {one.name: one.difference.to_json() | {"verdict": one.verdict} for one in self.verdicts.metrics},
            "p50_ms": [float(np.median(self.speed.first)), float(np.median(self.speed.second))],
            "bytes": [side.size for side in self.sides],
        }
