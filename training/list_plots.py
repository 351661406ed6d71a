"""Pictures of what diversity and onboarding are worth."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from training.evaluation.diversity import AtStrength
from training.evaluation.onboarding import OURS as SPLITTING
from training.evaluation.onboarding import Onboarding
from training.metrics import Estimate
from training.plots import CATALOGUE, OTHERS, OURS, figure_png, tidy

_GAINS: Final = {"distance@10": "distance", "entropy@10": "category entropy", "coverage@10": "coverage"}
_COLOURS: Final = (CATALOGUE, "#3a8f5c", "#7b5aa6")


def plot_diversity(found: Mapping[str, Sequence[AtStrength]]) -> bytes:
    """Return, for each data set, NDCG@10 and kinds of variety by strength, as changes against strength 0."""
    figure = Figure(figsize=(5.6 * len(found), 4.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(found), sharey=True))
    for panel, (name, lists) in zip(panels, found.items(), strict=True):
        _change_panel(panel, lists)
        panel.set_title(name, loc="left", fontweight="bold", fontsize=11)
        panel.set_xlabel("strength of diversity", fontsize=9)
    panels[0].set_ylabel("change against strength 0", fontsize=9)
    panels[0].legend(frameon=False, fontsize=9)
    return figure_png(figure)


def _change_panel(panel: Axes, lists: Sequence[AtStrength]) -> None:
    strengths = [entry.strength for entry in lists]
    base = lists[0].metrics["ndcg@10"].mean
    changes = np.array([[e.ndcg_change.low, e.ndcg_change.mean, e.ndcg_change.high] for e in lists]) / max(base, 1e-12)
    panel.fill_between(strengths, changes[:, 0], changes[:, 2], color=OURS, alpha=0.2, linewidth=0)
    panel.plot(strengths, changes[:, 1], color=OURS, marker="o", markersize=4, linewidth=2.2, label="NDCG@10")
    for (metric, label), colour in zip(_GAINS.items(), _COLOURS, strict=True):
        values = np.array([e.coverage if metric == "coverage@10" else e.metrics[metric].mean for e in lists])
        if np.isfinite(values).all() and values[0] > 0:
            panel.plot(strengths, values / values[0] - 1, color=colour, marker="o", markersize=3, label=label)
    panel.axhline(0, color=OTHERS, linewidth=1, linestyle=":")
    panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    tidy(panel)


def plot_onboarding(found: Mapping[str, Onboarding]) -> bytes:
    """Return, for each data set, NDCG@10 of the first list and who finds two items, by what was shown."""
    figure = Figure(figsize=(4.6 * len(found), 4.6), layout="constrained")
    rows = figure.subplots(2, len(found), squeeze=False)
    for column, (name, judged) in enumerate(found.items()):
        of_lists = {way: metrics["ndcg@10"] for way, metrics in judged.methods.items()}
        _bars(rows[0][column], of_lists, "NDCG@10 of the first list")
        _bars(rows[1][column], {w: m["finds_2"] for w, m in judged.methods.items()}, "users who like two of them")
        rows[0][column].set_title(f"{name}, {judged.users} users", loc="left", fontweight="bold", fontsize=11)
        for row in rows:
            row[column].set_yticks(range(len(of_lists)), list(of_lists) if not column else [""] * len(of_lists))
            row[column].invert_yaxis()
    return figure_png(figure)


def _bars(panel: Axes, found: Mapping[str, Estimate], words: str) -> None:
    means = [entry.mean for entry in found.values()]
    reach = np.array([[e.mean - e.low, e.high - e.mean] for e in found.values()]).T.clip(min=0)
    colours = [OURS if way == SPLITTING else OTHERS for way in found]
    panel.barh(range(len(found)), means, xerr=reach, color=colours, capsize=2, height=0.62, error_kw={"elinewidth": 1})
    panel.set_xlabel(words, fontsize=9)
    tidy(panel)
