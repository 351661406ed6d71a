"""Several cuts in a row: the same training at earlier times, each judged on a window as long as the last."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from features.contracts.errors import ContractError
from features.contracts.profiles import Options
from features.contracts.times import EPOCH, told, told_length
from features.contracts.weights_file import SaidWeights
from features.text.svd import fit_svd
from training.backtest import Cut, run_backtest
from training.config import TrainingConfig
from training.data import Interactions
from training.evaluation.methods import SERVED
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
        if "T" not in self.begin:  # an integer that only orders, though it may read as a date
            return self.begin
        return datetime.fromisoformat(self.begin).isoformat(timespec="minutes")

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

    @property
    def judged(self) -> int:
        """Return the number of windows in which anybody was judged."""
        return sum(bool(window.users) for window in self.windows)

    @property
    def left_out(self) -> str:
        """Return in words which windows the mean leaves out; nothing where it is one of all."""
        names = [window.name for window in self.windows if not window.users]
        of_all = f"nobody was judged at {len(names)} of {len(self.windows)} cuts ({', '.join(names)})"
        return f"{of_all}: no mean counts them" if names else ""

    @property
    def line(self) -> str:
        """Return the mean over the cuts of what serves, in one line, and which windows it leaves out."""
        if not self.judged:
            return self.left_out
        found = self.mean()[SERVED]["ndcg@10"]
        mean = f"NDCG@10 {found.mean:.4f} ({found.low:.4f} to {found.high:.4f}) in the mean of {self.judged} cuts"
        return f"{mean}; {self.left_out}" if self.left_out else mean

    def mean(self) -> Methods:
        """Return the mean of the windows' means; its interval resamples users within each window.

        Windows in which nobody was judged do not count, and methods that one of the others lacks are left out.
        """
        columns = {
            number: by_method_and_metric(window.values) for number, window in enumerate(self.windows) if window.users
        }
        if not columns:
            return estimate_methods(self.windows[-1].values, self.seed)
        *_, latest = columns.values()
        common = [key for key in latest if all(key in found for found in columns.values())]
        results = [
            bootstrap_columns(np.column_stack([found[key] for key in common]), self.seed + number)
            for number, found in columns.items()
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
        return {"windows": windows, "windows_in_mean": self.judged, "mean": methods_to_json(self.mean())}


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
        raise ContractError(f"--rolling {count}: {_too_many(interactions, cutoff, count)}")
    return [(begin, begin + width) for begin in begins]


def _too_many(interactions: Interactions, cutoff: int, count: int) -> str:
    """Return in words why so many windows do not fit, and how many would."""
    when = partial(told, has_clock=interactions.has_clock)
    first, last = int(interactions.at_us[0]), int(interactions.at_us[-1])
    width = last + 1 - cutoff
    if width <= 0:
        return f"nothing follows the cutoff {when(cutoff)}, as the data end at {when(last)}; cut earlier"
    fit = max((cutoff - first - 1) // width, 0)
    return (
        f"of {count - 1} windows of {told_length(width, has_clock=interactions.has_clock)} before the cutoff "
        f"{when(cutoff)} only {fit} fit, as the data begin at {when(first)}; --rolling {fit + 1} is the most here: "
        "ask for fewer, or cut later"
    )


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
