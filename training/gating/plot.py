"""The picture of a decision: each difference with its interval, beside the line that it is held against."""

from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from training.gating.results import ORDER, Decision, Interval, RuleResult
from training.plots import CATALOGUE, OTHERS, OURS, figure_png, metric_title, tidy

_FAILED: Final = "#b3261e"
_UNDECIDED: Final = "#b0902a"
_COLOURS: Final = {"refused": _FAILED, "needs_human": _UNDECIDED, "promoted": OURS}


def plot_decision(decision: Decision) -> bytes:
    """Return a panel per difference as a PNG, each with a scale of its own; one empty panel where there are none.

    What stands in the version's way comes first.
    """
    rules = sorted(decision.rules, key=lambda rule: ORDER[rule.outcome])
    rows = [(one, *_told(rule, one)) for rule in rules for one in rule.intervals]
    figure = Figure(figsize=(9, 0.72 * max(len(rows), 1) + 1.5), layout="constrained")
    panels = figure.subplots(max(len(rows), 1), 1, squeeze=False).ravel()
    for panel, (interval, colour, verdict) in zip(panels, rows, strict=False):
        _row(panel, interval, colour, verdict)
    if not rows:
        panels[0].text(0.5, 0.5, "no users to judge", ha="center", va="center")
        panels[0].set_axis_off()
    figure.suptitle(
        f"Gate: {decision.outcome.replace('_', ' ')}, {decision.users:,} users", x=0.01, ha="left", fontweight="bold"
    )
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure_png(figure)


def _told(rule: RuleResult, interval: Interval) -> tuple[str, str]:
    """Return colour and word of a difference: the rule's, but for those of several that hold by themselves."""
    if not interval.met:
        return _COLOURS[rule.outcome], rule.verdict
    return OURS, "passed" if interval.difference.mean >= interval.line else "passed, for it is not clearly below"


def _row(panel: Axes, interval: Interval, colour: str, verdict: str) -> None:
    difference = interval.difference
    panel.axvline(0, color=OTHERS, linewidth=1)
    panel.axvline(interval.line, color=CATALOGUE, linestyle="--", linewidth=1.4)
    panel.plot([difference.low, difference.high], [0, 0], color=colour, linewidth=2)
    panel.plot([difference.mean], [0], "o", color=colour, markersize=6)
    if interval.bound is not None:
        panel.plot([interval.bound], [0], "|", color=colour, markersize=14, markeredgewidth=2)
    panel.set_ylim(-1, 1)
    panel.set_yticks([])
    panel.set_title(f"{metric_title(interval.name)}: {verdict}", loc="left", fontsize=9)
    panel.ticklabel_format(axis="x", useOffset=False)
    panel.margins(x=0.12)
    tidy(panel)
    panel.spines["left"].set_visible(False)
    panel.tick_params(labelsize=8)


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=OURS, marker="o", linewidth=2, label="difference, 95 % interval"),
        Line2D([], [], color=OURS, marker="|", linestyle="", markersize=12, label="one-sided 95 % bound"),
        Line2D([], [], color=CATALOGUE, linestyle="--", label="may not fall below"),
        Line2D([], [], color=OTHERS, label="no difference"),
    ]
