"""Pictures of what is different between two versions."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from training.diff.exposure import Exposure, Shift
from training.diff.judged import Compared
from training.diff.result import Agreement
from training.diff.speed import Speed
from training.metrics import Floats
from training.plots import CATALOGUE, OTHERS, OURS, figure_png, tidy

BETTER: Final = "#3a8a4d"
_COLOURS: Final = {"better": BETTER, "worse": CATALOGUE}
_BARS: Final = 14
_NAMED: Final = 4
_LONGEST: Final = 34


def plot_agreement(overlaps: Floats, agreement: Sequence[Agreement]) -> bytes:
    """Return how many users share how much of their first ten, and the mean of each segment."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    shared = np.round(overlaps[~np.isnan(overlaps)] * 10).astype(int)
    bars = left.bar(range(11), np.bincount(shared, minlength=11)[:11], color=OURS, width=0.8)
    left.bar_label(bars, fontsize=8)
    left.set_xticks(range(11))
    _titled(left, "Items that both lists of a user hold", "of the first ten", "users")
    parts = agreement[1:][::-1]
    _intervals(right, [f"{part.name} ({part.users})" for part in parts], [part.overlap for part in parts], OURS)
    right.set_xlim(-0.02, 1.02)  # a marker at an end is whole
    right.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _titled(right, "By activity of the user", "overlap of the first ten, 95 % interval", "")
    return figure_png(figure)


def plot_verdicts(compared: Sequence[Compared]) -> bytes:
    """Return the paired differences with their intervals: right of the line the second version is better."""
    lines = list(compared)[::-1]
    figure = Figure(figsize=(9, 0.34 * len(lines) + 1.3), layout="constrained")
    panel = figure.subplots()
    for place, one in enumerate(lines):
        colour = _COLOURS.get(one.verdict, "#44525f" if one.verdict == "not distinguishable" else OTHERS)
        found = one.difference
        reach = np.array([[max(found.mean - found.low, 0)], [max(found.high - found.mean, 0)]])
        panel.errorbar(found.mean, place, xerr=reach, fmt="o", color=colour, capsize=3, markersize=5)
    panel.axvline(0, color="#222222", linewidth=1)
    panel.set_yticks(range(len(lines)), [f"{one.name} ({one.users})" for one in lines])
    _titled(panel, "Second minus first", "paired difference, 95 % interval; users in brackets", "")
    return figure_png(figure)


def plot_shifts(shifts: Sequence[Shift], title: str) -> bytes:
    """Return how many percentage points of all places each category gained or lost, the largest changes."""
    top = sorted(shifts[:_BARS], key=lambda one: one.change)
    figure = Figure(figsize=(9, 0.32 * len(top) + 1.3), layout="constrained")
    panel = figure.subplots()
    colours = [OURS if one.change > 0 else CATALOGUE for one in top]
    names = [f"{_short(one.name)}  {one.first:.1%} → {one.second:.1%}" for one in top]
    bars = panel.barh(names, [one.change * 100 for one in top], color=colours, height=0.66)
    panel.bar_label(bars, [f"{one.change * 100:+.1f}" for one in top], padding=3, fontsize=8)
    panel.axvline(0, color="#222222", linewidth=1)
    panel.margins(x=0.14)
    _titled(panel, title, "change in percentage points of the first ten places", "")
    return figure_png(figure)


def plot_exposure(exposure: Exposure) -> bytes:
    """Return for each item in how many lists it stood and stands; what moved most has its title."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    panel = figure.subplots()
    first, second = exposure.shown
    some = (first > 0) | (second > 0)
    panel.scatter(first[some], second[some], s=18, color=OURS, alpha=0.45, linewidths=0)
    top = float(max(first.max(initial=0), second.max(initial=0), 1)) * 1.15
    panel.plot([0, top], [0, top], color=OTHERS, linestyle=":", linewidth=1.2, zorder=0)
    for one in exposure.items[:_NAMED]:
        near_right = one.first > top / 2
        panel.annotate(
            _short(one.name),
            (one.first, one.second),
            xytext=(-6 if near_right else 6, 3),
            textcoords="offset points",
            ha="right" if near_right else "left",
            fontsize=8,
        )
    panel.set_xlim(-top * 0.02, top)
    panel.set_ylim(-top * 0.02, top)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    _titled(panel, "Each item: in how many users' first ten", "first version", "second version")
    return figure_png(figure)


def plot_speed(speed: Speed, names: tuple[str, str]) -> bytes:
    """Return the share of lists that are made within a time, of both versions."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    panel = figure.subplots()
    for took, name, colour in ((speed.first, names[0], CATALOGUE), (speed.second, names[1], OURS)):
        panel.ecdf(took, label=name, color=colour, linewidth=2)
    panel.set_xlim(left=0)
    panel.legend(frameon=False, fontsize=9, loc="lower right")
    panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _titled(panel, "Lists made within a time", "milliseconds of one list, on the machine of the diff", "share of users")
    return figure_png(figure)


def _intervals(panel: Axes, names: Sequence[str], found: Sequence[object], colour: str) -> None:
    for place, one in enumerate(found):
        mean, low, high = (float(getattr(one, side)) for side in ("mean", "low", "high"))
        reach = np.array([[max(mean - low, 0)], [max(high - mean, 0)]])
        panel.errorbar(mean, place, xerr=reach, fmt="o", color=colour, capsize=3, markersize=5)
    panel.set_yticks(range(len(names)), names)


def _titled(panel: Axes, title: str, x: str, y: str) -> None:
    panel.set_title(title, loc="left", fontweight="bold", fontsize=11)
    panel.set_xlabel(x, fontsize=9)
    panel.set_ylabel(y, fontsize=9)
    tidy(panel)


def _short(title: str) -> str:
    """Return a title that fits, in which no dollar begins a formula."""
    shown = title if len(title) <= _LONGEST else title[: _LONGEST - 1] + "…"
    return shown.replace("$", r"\$")
