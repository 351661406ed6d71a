"""Several cuts in a row: the same training at earlier times, each judged on a window as long as the last."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from features.contracts.errors import ContractError
from features.contracts.profiles import Options
from features.contracts.times import EPOCH
from features.contracts.weights_file import SaidWeights
from features.text.svd import fit_svd
from training.backtest import Cut, run_backtest
from training.config import TrainingConfig
from training.data import Interactions
from training.evaluation.resampling import (
    Methods,
    bootstrap_columns,
    by_method,
    by_method_and_metric,
    estimate_methods,
    intervals,
    methods_to_json,
)
from training.frames import Loaded
from training.metrics import Floats
from training.progress import Progress, silent
from training.texts import FitEncoder


@dataclass(frozen=True, eq=False)
class Window:
    """One cut: its times as text, exact, and per-user values by method and metric."""

    begin: str
    end: str
    values: dict[str, dict[str, Floats]]

    @property
    def name(self) -> str:
        """Return when it begins, as people write it: to the minute where the data have a clock."""
        try:
            return datetime.fromisoformat(self.begin).isoformat(timespec="minutes")
        except ValueError:
            return self.begin

    @property
    def users(self) -> int:
        """Return the number of judged users."""
        return max((len(entry) for found in self.values.values() for entry in found.values()), default=0)


@dataclass(frozen=True, eq=False)
class Rolling:
    """All windows, the latest last."""

    windows: tuple[Window, ...]
    seed: int

    def metrics(self) -> list[Methods]:
        """Return mean and interval of every metric of every method, window by window."""
        return [estimate_methods(window.values, self.seed) for window in self.windows]

    def mean(self) -> Methods:
        """Return the mean of the windows' means; its interval resamples users within each window.

        Methods that some window lacks are left out.
        """
        columns = [by_method_and_metric(window.values) for window in self.windows]
        common = [key for key in columns[-1] if all(key in found for found in columns)]
        results = [
            bootstrap_columns(np.column_stack([found[key] for key in common]), self.seed + number)
            for number, found in enumerate(columns)
        ]
        mean = np.mean([entry for entry, _ in results], axis=0)
        drawn = np.mean([entry for _, entry in results], axis=0)
        return by_method(dict(zip(common, intervals(mean, drawn), strict=True)))

    def to_json(self) -> dict[str, Any]:
        """Return windows and mean as JSON values."""
        windows = [
            {"cutoff": window.begin, "end": window.end, "users": window.users, "methods": methods_to_json(found)}
            for window, found in zip(self.windows, self.metrics(), strict=True)
        ]
        return {"windows": windows, "mean": methods_to_json(self.mean())}


def earlier_cuts(interactions: Interactions, cutoff: int, count: int) -> list[tuple[int, int]]:
    """Return begin and end of the windows before the last, earliest first, each as long as from the cutoff to the end.

    Raises
    ------
    ContractError
        If the earliest cut would leave nothing to learn from.
    """
    first, end = int(interactions.at_us[0]), int(interactions.at_us[-1]) + 1
    width = end - cutoff
    begins = [cutoff - number * width for number in range(count - 1, 0, -1)]
    if width <= 0 or (begins and begins[0] <= first):
        raise ContractError(
            f"--rolling {count}: {count - 1} windows of {width} before the cutoff {cutoff} reach back to "
            f"{begins[0] if begins else cutoff}, and the data begin at {first}; ask for fewer, or cut later"
        )
    return [(begin, begin + width) for begin in begins]


def run_earlier(
    loaded: Loaded,
    items: Path | None,
    cuts: list[tuple[int, int]],
    config: TrainingConfig,
    *,
    options: Options,
    fit_encoder: FitEncoder = fit_svd,
    said: SaidWeights | None = None,
    progress: Progress = silent,
) -> list[Window]:
    """Return the windows of earlier cuts, each with a training and weights of its own; their bundles are not kept."""
    windows = []
    for number, (begin, end) in enumerate(cuts, start=1):
        cut = Cut(cutoff=begin)
        until = loaded.take(np.flatnonzero(loaded.interactions.at_us < end))
        until = until.weighed_by(cut.split(until.interactions).history, said)
        with TemporaryDirectory(prefix="marquee-rolling-") as folder:
            result = run_backtest(
                until,
                items,
                cut,
                replace(config, weights=until.weights),
                folder=Path(folder),
                options=options,
                fit_encoder=fit_encoder,
                progress=lambda what, number=number: progress(f"window {number} of {len(cuts) + 1}: {what}"),  # type: ignore[misc]
            )
        windows.append(window_of(loaded.interactions, begin, end, result.evaluation.values))
    return windows


def window_of(interactions: Interactions, begin: int, end: int, values: dict[str, dict[str, Floats]]) -> Window:
    """Return a window with its times as text: ISO 8601 where the data have a clock, else the file's integers."""
    return Window(_text(begin, interactions), _text(end, interactions), values)


def _text(at: int, interactions: Interactions) -> str:
    if not interactions.has_clock:
        return str(at)
    return (EPOCH + timedelta(microseconds=at)).isoformat()
