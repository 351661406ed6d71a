"""Pictures of drift: the index of each column, and the worst columns as served beside as trained."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from training.plots import CATALOGUE, OTHERS, OURS, figure_png, tidy
from training.skew.drift import Shift
from training.skew.rules import DriftRules

SHOWN: Final = 25
"""Columns of the bars."""
WORST: Final = 6
"""Columns whose distributions are drawn."""


def plot_shifts(shifts: Sequence[Shift], rules: DriftRules) -> bytes:
    """Return a bar for each of the columns that moved most; grey where the ranker hardly reads the column."""
    top = list(shifts[:SHOWN])[::-1]
    figure = Figure(figsize=(8, 0.3 * len(top) + 1.4), layout="constrained")
    panel = figure.subplots()
    colours = [_colour(shift, rules) for shift in top]
    bars = panel.barh([shift.name for shift in top], [shift.psi for shift in top], color=colours)
    panel.bar_label(bars, [f"{shift.psi:.2f}" for shift in top], padding=3, fontsize=8)
    for threshold, words, line in ((rules.moderate, "moderate", ":"), (rules.large, "large", "--")):
        panel.axvline(threshold, color="#222222", linestyle=line, linewidth=1, label=f"{words}: {threshold}")
    panel.legend(loc="lower right", frameon=False, fontsize=8)
    panel.set_title("Served rows against training rows", loc="left", fontweight="bold")
    panel.set_xlabel("population stability index")
    panel.margins(x=0.12, y=0.02)
    tidy(panel)
    return figure_png(figure)


def plot_distributions(shifts: Sequence[Shift]) -> bytes:
    """Return the shares by bin, served and trained, of the columns that moved most."""
    worst = shifts[:WORST]
    lines = max(-(-len(worst) // 2), 1)
    figure = Figure(figsize=(10, 2.6 * lines + 0.4), layout="constrained")
    panels = figure.subplots(lines, 2, squeeze=False).ravel()
    for panel, shift in zip(panels, worst, strict=False):
        _distribution(panel, shift)
    for unused in panels[len(worst) :]:
        unused.set_axis_off()
    if worst:
        panels[0].legend(frameon=False, fontsize=8)
    return figure_png(figure)


def _distribution(panel: Axes, shift: Shift) -> None:
    places = np.arange(len(shift.trained))
    panel.bar(places - 0.2, shift.trained, 0.4, color=OTHERS, label="trained")
    panel.bar(places + 0.2, shift.served, 0.4, color=CATALOGUE, label="served")
    panel.set_xticks(places, _bin_names(shift.edges), rotation=30, ha="right")
    panel.set_title(f"{shift.name}: {shift.psi:.2f}", loc="left", fontweight="bold", fontsize=10)
    panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    tidy(panel)
    panel.tick_params(labelsize=7)


def _bin_names(edges: Sequence[float]) -> list[str]:
    beyond = f"> {edges[-1]:.3g}" if edges else "any"
    return [*(f"<= {edge:.3g}" for edge in edges), beyond, "unknown"]


def _colour(shift: Shift, rules: DriftRules) -> str:
    if not shift.counts(rules):
        return OTHERS
    return CATALOGUE if shift.psi >= rules.large else OURS
