"""Served feature rows against rows that the training path makes: bit for bit, by feature."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.served import Considered

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Remade:
    """The candidates of a list as the training path has them.

    Attributes
    ----------
    item_ids
        External ids of n candidates.
    unmet
        bool (n,), whether it is one as an item that nobody ever met; an item may be a candidate in both ways.
    rows
        float32 (n, n_features).
    """

    item_ids: Sequence[str]
    unmet: npt.NDArray[np.bool_]
    rows: Rows


@dataclass(frozen=True, eq=False, slots=True)
class Compared:
    """One list, compared.

    Attributes
    ----------
    item_ids
        External ids of the n candidates that both have.
    served, remade
        float32 (n, n_features), their rows.
    missing, added
        Candidates that were served and are not made again, and the other way round.
    """

    recommendation_id: str
    item_ids: Sequence[str]
    served: Rows
    remade: Rows
    missing: Sequence[str]
    added: Sequence[str]

    @property
    def differs(self) -> npt.NDArray[np.bool_]:
        """Return which values are not the same to the bit, bool (n, n_features); what is unknown in both is."""
        other = self.served.view(np.uint32) != self.remade.view(np.uint32)
        return np.asarray(other & ~(np.isnan(self.served) & np.isnan(self.remade)))

    @property
    def same(self) -> bool:
        """Return whether candidates and all values are the same."""
        return not self.missing and not self.added and not self.differs.any()


@dataclass(frozen=True, slots=True)
class Example:
    """One value that is not the same: None where it is NaN."""

    recommendation_id: str
    item_id: str
    served: float | None
    remade: float | None


@dataclass(frozen=True, slots=True)
class FeatureParity:
    """What came of one feature.

    Attributes
    ----------
    rows, different
        Values compared, and those that are not the same.
    largest
        The largest difference of two numbers; None where there is none.
    example
        The value that differs most, None where all are the same.
    """

    name: str
    rows: int
    different: int
    largest: float | None
    example: Example | None


def compare(recommendation_id: str, then: Considered, now: Remade, *, only_met: bool = False) -> Compared:
    """Return a list's candidates as served beside those remade.

    Parameters
    ----------
    only_met
        Whether candidates that nobody ever met are left out on both sides.
    """
    then_at = _places(then.item_ids, then.unmet, only_met=only_met)
    now_at = _places(now.item_ids, now.unmet, only_met=only_met)
    both = [key for key in then_at if key in now_at]
    served_ids = {item_id for item_id, _ in then_at}
    return Compared(
        recommendation_id,
        [item_id for item_id, _ in both],
        np.ascontiguousarray(then.rows[[then_at[key] for key in both]], dtype=np.float32),
        np.ascontiguousarray(now.rows[[now_at[key] for key in both]]),
        [key[0] for key in then_at if key not in now_at],
        sorted({item_id for item_id, _ in now_at} - served_ids),
    )


def _places(item_ids: Sequence[str], unmet: npt.NDArray[np.bool_], *, only_met: bool) -> dict[tuple[str, bool], int]:
    """Return the row of each candidate, by id and by whether it is one that nobody met."""
    keys = enumerate(zip(item_ids, unmet.tolist(), strict=True))
    return {key: row for row, key in keys if not (only_met and key[1])}


def by_feature(lists: Sequence[Compared], names: Sequence[str]) -> list[FeatureParity]:
    """Return what came of each feature over all lists, in the order of the names."""
    rows = sum(len(one.item_ids) for one in lists)
    different = np.zeros(len(names), dtype=np.int64)
    largest = np.full(len(names), -np.inf)
    examples: dict[int, Example] = {}
    for one in lists:
        differs = one.differs
        different += differs.sum(axis=0)
        for column in np.flatnonzero(differs.any(axis=0)).tolist():
            gap = np.where(differs[:, column], _gaps(one, column), -np.inf)
            row = int(np.argmax(gap))
            if column not in examples or gap[row] > largest[column]:
                examples[column] = _example(one, row if np.isfinite(gap[row]) else _first(differs, column), column)
                largest[column] = gap[row]
    return [
        FeatureParity(
            name, rows, int(different[at]), float(largest[at]) if largest[at] >= 0 else None, examples.get(at)
        )
        for at, name in enumerate(names)
    ]


def to_json(found: FeatureParity) -> dict[str, Any]:
    """Return what came of a feature as JSON values."""
    example = found.example
    return {
        "name": found.name,
        "rows": found.rows,
        "different": found.different,
        "largest_difference": found.largest,
        "example": None
        if example is None
        else {
            "recommendation_id": example.recommendation_id,
            "item_id": example.item_id,
            "served": example.served,
            "remade": example.remade,
        },
    }


def _gaps(one: Compared, column: int) -> npt.NDArray[np.float64]:
    """Return how far values of a feature are from each other, -inf where one of them is unknown."""
    gap = np.abs(one.served[:, column].astype(np.float64) - one.remade[:, column])
    return np.where(np.isnan(gap), -np.inf, gap)


def _first(differs: npt.NDArray[np.bool_], column: int) -> int:
    return int(np.flatnonzero(differs[:, column])[0])


def _example(one: Compared, row: int, column: int) -> Example:
    served, remade = (_number(rows[row, column]) for rows in (one.served, one.remade))
    return Example(one.recommendation_id, one.item_ids[row], served, remade)


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)
