"""Pictures of how a metric moves: with the budget of a source, the length of a history, the score, and time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter, ScalarFormatter

from training.evaluation.cold_items import ColdItems
from training.evaluation.methods import SERVED, title_of
from training.evaluation.newcomers import Stage
from training.evaluation.reliability import Tenth
from training.evaluation.segments import Segment
from training.evaluation.source_recall import BUDGETS, SourceRecall
from training.metrics import Estimate
from training.plots import CATALOGUE, OTHERS, OURS, figure_png, tidy

_COLOURS: Final = ("#1f5fa8", "#c2571a", "#3a8a4d", "#8451a8", "#b0902a", "#3b9aa3", "#b5476b", "#6b7785")
_DASHES: Final = ("-", "--", ":")
_MOST_BANDS: Final = 6
_NAME_INCHES: Final = 2.2
"""Width that the name of a line may take."""


def plot_source_recall(sources: Mapping[str, SourceRecall]) -> bytes:
    """Return each source's recall against the length of its own list, and what it alone adds at its budget.

    Of sources that found nothing (no categories, no texts) the table tells. Intervals are drawn while lines are few:
    bands of many lie on each other.
    """
    sources = {name: found for name, found in sources.items() if found.recall[BUDGETS[-1]].mean > 0} or sources
    figure = Figure(figsize=(12, max(4.4, 0.34 * len(sources) + 2.6)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    ordered = sorted(sources.items(), key=lambda entry: -entry[1].recall[BUDGETS[-1]].mean)
    for number, (name, found) in enumerate(ordered):
        colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS) % len(_DASHES)]
        means = [found.recall[budget].mean for budget in BUDGETS]
        left.plot(BUDGETS, means, dash, color=colour, marker="o", markersize=3.5, label=title_of(name))
        if len(ordered) > _MOST_BANDS:
            continue
        lows, highs = ([getattr(found.recall[b], side) for b in BUDGETS] for side in ("low", "high"))
        left.fill_between(BUDGETS, lows, highs, color=colour, alpha=0.10, linewidth=0)
    _log_budgets(left)
    _titled(left, "Labels found by each source alone", "items taken from the source's own list", "share of all labels")
    alone = sorted(sources.items(), key=lambda entry: entry[1].alone.mean)
    names = [f"{title_of(name)} ({found.budget})" for name, found in alone]
    _bars(right, names, [found.alone for _, found in alone])
    right.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    _titled(right, "Labels that only this source proposes", "share of labels, at the budget in brackets", "")
    legend_below(figure, left)
    return figure_png(figure)


def plot_by_history_length(segments: Sequence[Segment], methods: Sequence[str]) -> bytes:
    """Return NDCG@10 of some methods for users with short and with long histories, with intervals."""
    labels = [f"{segment.name}\n{segment.users} users" for segment in segments]
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    panel = figure.subplots()
    found = {method: [segment.methods[method]["ndcg@10"] for segment in segments] for method in methods}
    _series(panel, np.arange(len(labels), dtype=np.float64), found)
    panel.set_xticks(range(len(labels)), labels)
    _titled(panel, "NDCG@10 by length of history", "events in the user's history", "NDCG@10, 95 % interval")
    legend_below(figure, panel)
    return figure_png(figure)


def plot_newcomers(stages: Sequence[Stage]) -> bytes:
    """Return NDCG@10 of new users after their first events, all that can be judged and those judged throughout."""
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    both = figure.subplots(1, 2)
    steady = [stage for stage in stages if stage.lasting_users]
    drawn: list[Estimate] = []
    for panel, kept, title in (
        (both[0], stages, "All who can be judged"),
        (both[1], steady, "Only those judged at each"),
    ):
        counts = [stage.users if panel is both[0] else stage.lasting_users for stage in kept]
        values = [stage.methods if panel is both[0] else stage.lasting for stage in kept]
        methods = list(values[0]) if values else []
        found = {method: [entry[method]["ndcg@10"] for entry in values] for method in methods}
        _series(panel, np.arange(len(kept), dtype=np.float64), found)
        drawn += (estimate for estimates in found.values() for estimate in estimates)
        labels = [f"{stage.events}\n{count} users" for stage, count in zip(kept, counts, strict=True)]
        panel.set_xticks(range(len(kept)), labels)
        _titled(panel, title, "events of the new user so far", "NDCG@10, 95 % interval" if panel is both[0] else "")
    for panel in both:
        panel.set_ylim(0, _top(drawn))  # one scale, which a panel without hits has no say in
    legend_below(figure, both[0])
    return figure_png(figure)


def plot_cold_items(found: ColdItems) -> bytes:
    """Return NDCG@10 of items without a history among themselves, by how many of a user's events are read."""
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    panel = figure.subplots()
    methods = list(found.stages[0].methods)
    values = {method: [stage.methods[method]["ndcg@10"] for stage in found.stages] for method in methods}
    _series(panel, np.arange(len(found.stages), dtype=np.float64), values)
    labels = ["all" if stage.events is None else str(stage.events) for stage in found.stages]
    panel.set_xticks(range(len(found.stages)), labels)
    panel.set_ylim(bottom=0)
    _titled(panel, "New items among themselves", "latest events read of each user", "NDCG@10, 95 % interval")
    legend_below(figure, panel)
    return figure_png(figure)


def plot_reliability(tenths: Sequence[Tenth]) -> bytes:
    """Return the share of candidates that were liked, by tenth of the score, with intervals."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    panel = figure.subplots()
    x = np.arange(1, len(tenths) + 1, dtype=np.float64)
    _line(panel, x, [tenth.hit_rate for tenth in tenths], OURS, "candidates")
    every = sum(tenth.candidates for tenth in tenths)
    mean = sum(tenth.hit_rate.mean * tenth.candidates for tenth in tenths) / max(every, 1)
    panel.axhline(mean, color=OTHERS, linestyle=":", label="all candidates")
    panel.set_xticks(x)
    panel.legend(frameon=False, fontsize=9)
    panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    _titled(
        panel, "Hits by tenth of the score", "tenth of all candidates by score, highest on the right", "liked later"
    )
    return figure_png(figure)


def plot_windows(
    names: Sequence[str], metrics: Sequence[Mapping[str, Mapping[str, Estimate]]], methods: Sequence[str]
) -> bytes:
    """Return NDCG@10 of some methods at several cuts, with intervals."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    panel = figure.subplots()
    found = {method: [window[method]["ndcg@10"] for window in metrics] for method in methods}
    _series(panel, np.arange(len(names), dtype=np.float64), found)
    panel.set_xticks(range(len(names)), names)
    _titled(panel, "NDCG@10 at each cut", "cut", "NDCG@10, 95 % interval")
    legend_below(figure, panel)
    return figure_png(figure)


def plot_estimates(found: Mapping[str, Estimate], title: str, ours: str) -> bytes:
    """Return one bar with its interval for each name, the first on top."""
    figure = Figure(figsize=(9, 0.42 * len(found) + 1.5), layout="constrained")
    panel = figure.subplots()
    names = list(found)[::-1]
    colours = [OURS if name == ours else OTHERS for name in names]
    _bars(panel, names, [found[name] for name in names], colours)
    panel.set_xlim(left=0)
    _titled(panel, title, "mean, 95 % interval", "")
    return figure_png(figure)


def plot_trials(scores: Mapping[str, np.ndarray[tuple[int], np.dtype[np.float64]]]) -> bytes:
    """Return the scores of each stage's trials in their order, and the best so far; the first is the default's."""
    figure = Figure(figsize=(4.2 * max(len(scores), 1), 3.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, max(len(scores), 1)))
    for panel, (stage, found) in zip(panels, scores.items(), strict=False):
        x = np.arange(len(found))
        panel.axhline(found[0], color=OTHERS, linestyle=":", label="default")
        panel.plot(x, found, "o", color=CATALOGUE, markersize=4, label="trial")
        panel.step(x, np.maximum.accumulate(found), where="post", color=OURS, label="best so far")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.legend(frameon=False, fontsize=8)
        _titled(panel, stage, "trial", "score")
    return figure_png(figure)


def _series(panel: Axes, x: np.ndarray[tuple[int], np.dtype[np.float64]], found: Mapping[str, list[Estimate]]) -> None:
    """Draw each method as a line of its own, the served one in front; points stand side by side, not on each other."""
    colours = iter(_COLOURS[1:] * 3)
    width = 0.30 / max(len(found), 1)
    for number, (method, estimates) in enumerate(found.items()):
        ours = method == SERVED
        shifted = x + (number - (len(found) - 1) / 2) * width
        _line(panel, shifted, estimates, OURS if ours else next(colours), method, thick=ours)
    panel.set_ylim(0, _top(entry for entries in found.values() for entry in entries))
    panel.margins(x=0.08)


def _top(estimates: Iterable[Estimate]) -> float:
    """Return where an axis from 0 ends that shows all intervals; 1 where nothing is above 0, or known."""
    return max((entry.high for entry in estimates if entry.high > 0), default=1.0) * 1.08


def legend_below(figure: Figure, panel: Axes) -> None:
    """Name the lines of a panel below all panels, where the names cover nothing that is drawn."""
    lines, names = panel.get_legend_handles_labels()
    if names:
        columns = min(len(names), int(figure.get_figwidth() / _NAME_INCHES))
        figure.legend(lines, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def _line(
    panel: Axes,
    x: np.ndarray[tuple[int], np.dtype[np.float64]],
    estimates: Sequence[Estimate],
    colour: str,
    label: str,
    *,
    thick: bool = True,
) -> None:
    means = np.array([estimate.mean for estimate in estimates])
    reach = np.array([[e.mean - e.low, e.high - e.mean] for e in estimates]).reshape(-1, 2).T.clip(min=0)
    width = 2.2 if thick else 1.2
    panel.errorbar(
        x, means, yerr=reach, color=colour, marker="o", markersize=4, linewidth=width, capsize=2, label=label
    )


def _bars(
    panel: Axes, names: Sequence[str], estimates: Sequence[Estimate], colours: Sequence[str] = (CATALOGUE,)
) -> None:
    means = np.array([estimate.mean for estimate in estimates])
    reach = np.array([[e.mean - e.low, e.high - e.mean] for e in estimates]).reshape(-1, 2).T.clip(min=0)
    panel.barh(names, means, xerr=reach, color=list(colours), capsize=2, height=0.6, error_kw={"elinewidth": 1})


def _log_budgets(panel: Axes) -> None:
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(list(BUDGETS)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(ScalarFormatter())
    panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panel.set_ylim(bottom=0)


def _titled(panel: Axes, title: str, x: str, y: str) -> None:
    panel.set_title(title, loc="left", fontweight="bold", fontsize=11)
    panel.set_xlabel(x, fontsize=9)
    panel.set_ylabel(y, fontsize=9)
    tidy(panel)
