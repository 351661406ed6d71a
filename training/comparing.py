"""Two backtests of the same users and labels, compared in pairs: which one is better, if that can be told."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from features.contracts.columns import USER
from features.contracts.errors import ContractError
from training.backtest_results import METHOD, METRICS, NOBODY, VALUES
from training.cells import require
from training.evaluation.methods import SERVED
from training.evaluation.resampling import FEWEST_USERS, estimate_all
from training.frames import read_frame
from training.metrics import Estimate

Verdict = Literal["better", "worse", "not distinguishable", "too few users"]

_SEED: Final = 0


class NotComparableError(ContractError):
    """Two runs were not asked the same: their difference would say nothing."""


@dataclass(frozen=True, eq=False)
class Run:
    """One backtest as its folder holds it: per-user values of the served line, and what it was judged on."""

    folder: Path
    per_user: pd.DataFrame
    labels_digest: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of two runs: means with intervals, and the paired difference second minus first, of so many users."""

    metric: str
    users: int
    first: Estimate
    second: Estimate
    difference: Estimate

    @property
    def verdict(self) -> Verdict:
        """Return what can be said of the second run: the interval of the difference decides, if users are enough."""
        if self.users < FEWEST_USERS:
            return "too few users"
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "not distinguishable"

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        parts = {"first": self.first, "second": self.second, "difference": self.difference}
        return {name: estimate.to_json() for name, estimate in parts.items()} | {"verdict": self.verdict}


def read_run(folder: Path, method: str = SERVED) -> Run:
    """Return what a backtest left in its folder of one method.

    Raises
    ------
    ContractError
        If the folder holds no finished backtest, or one that measured nothing, or not this method.
    """
    file = folder / METRICS
    if not file.exists():
        raise ContractError(f"{folder}: holds no {METRICS}; expected the --out folder of a finished backtest")
    digest = _labels_digest(file)
    frame = read_frame(folder / VALUES)
    require(frame, folder / VALUES, USER, METHOD)
    if frame.empty:
        raise NotComparableError(f"{folder}: {NOBODY} Cut earlier, so that users come back after the cut.")
    found = frame[frame[METHOD] == method]
    if found.empty:
        raise ContractError(f"{folder}: no values of {method!r}; there are {sorted(frame[METHOD].unique())}")
    by_user = found.drop(columns=[METHOD, USER]).set_index(found[USER].astype(str))  # 7 and "7" are one user
    return Run(folder, by_user.sort_index(), digest)


def _labels_digest(file: Path) -> str:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # a backtest that was killed, or a disk that was full, leaves half a file
        raise ContractError(f"{file}: {error}; run that backtest again in a new folder") from error
    digest = content.get("labels_digest") if isinstance(content, dict) else None
    if not isinstance(digest, str):
        raise ContractError(f"{file}: holds no labels_digest; run that backtest again with this version")
    return digest


def compare_runs(first: Run, second: Run) -> list[Compared]:
    """Return every metric that both runs have, compared on the same users.

    Raises
    ------
    NotComparableError
        If users or labels differ.
    """
    _same_question(first, second)
    metrics = [str(name) for name in first.per_user if name in second.per_user]
    columns = {(name, "first"): first.per_user[name].to_numpy() for name in metrics}
    columns |= {(name, "second"): second.per_user[name].to_numpy() for name in metrics}
    columns |= {(name, "difference"): columns[name, "second"] - columns[name, "first"] for name in metrics}
    found = estimate_all(columns, _SEED)
    users = {name: int((~np.isnan(columns[name, "difference"])).sum()) for name in metrics}
    return [
        Compared(name, users[name], *(found[name, part] for part in ("first", "second", "difference")))
        for name in metrics
    ]


def to_json(first: Run, second: Run, compared: Sequence[Compared]) -> dict[str, Any]:
    """Return a comparison as JSON values."""
    return {
        "first": str(first.folder),
        "second": str(second.folder),
        "users": len(first.per_user),
        "metrics": {entry.metric: entry.to_json() for entry in compared},
    }


def _same_question(first: Run, second: Run) -> None:
    ours, theirs = set(first.per_user.index), set(second.per_user.index)
    if ours != theirs:
        raise NotComparableError(
            f"{first.folder} and {second.folder} were judged on different users: {len(ours - theirs)} only in the "
            f"first, {len(theirs - ours)} only in the second, {len(ours & theirs)} in both. Use the same data and cut."
        )
    if first.labels_digest != second.labels_digest:
        raise NotComparableError(
            f"{first.folder} and {second.folder} were judged on the same users but different labels (digests "
            f"{first.labels_digest[:12]} and {second.labels_digest[:12]}). Use the same data, cut and --include-seen."
        )
