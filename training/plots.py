"""Pictures of a training run, as PNG bytes: drawn without a display and without global state."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

OURS: Final = "#1f5fa8"
OTHERS: Final = "#9aa5b1"
CATALOGUE: Final = "#c2571a"

_DPI: Final = 120
_MOST_FEATURES: Final = 20
_CURVE_POINTS: Final = 400


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of one model on the judging window: mean over users and its bootstrap interval."""

    model: str
    metric: str
    mean: float
    low: float
    high: float


def plot_metrics(rows: Sequence[MetricRow], ours: str) -> bytes:
    """Return a panel per metric with a bar and an interval per model, ours in colour, best on top."""
    metrics = list(dict.fromkeys(row.metric for row in rows))
    models = len({row.model for row in rows})
    columns = min(2, len(metrics))
    lines = -(-len(metrics) // columns)
    figure = Figure(figsize=(5.4 * columns, (0.3 * models + 1.2) * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel, metric in zip(panels, metrics, strict=False):
        _metric_panel(panel, [row for row in rows if row.metric == metric], ours)
    for unused in panels[len(metrics) :]:
        unused.set_axis_off()
    return figure_png(figure)


def plot_importance(contributions: Mapping[str, float]) -> bytes:
    """Return the most useful features by their mean absolute SHAP value: how far each moves a score, either way."""
    top = sorted(contributions.items(), key=lambda entry: -entry[1])[:_MOST_FEATURES][::-1]
    total = sum(contributions.values()) or 1.0
    figure = Figure(figsize=(8, 0.3 * len(top) + 1.4), layout="constrained")
    panel = figure.subplots()
    bars = panel.barh([name for name, _ in top], [value for _, value in top], color=OURS)
    panel.bar_label(bars, [f"{value / total:.1%}" for _, value in top], padding=3, fontsize=8)
    panel.set_title("What moves the ranker's scores", loc="left", fontweight="bold")
    panel.set_xlabel("mean |SHAP value|; beside the bars the share of all features")
    panel.margins(x=0.12, y=0.02)
    tidy(panel)
    return figure_png(figure)


def plot_popularity(interactions: npt.NDArray[np.int64], recommended: npt.NDArray[np.int64]) -> bytes:
    """Return how much of what is recommended goes to the most popular items, against the catalogue's own skew.

    Parameters
    ----------
    interactions, recommended
        (n_items,), how often each item occurs in training data and in the lists that were judged.
    """
    order = np.argsort(-interactions, kind="stable")
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    panel = figure.subplots()
    for counts, label, colour in (
        (interactions, "interactions in training data", CATALOGUE),
        (recommended, "recommended in the judging window", OURS),
    ):
        x, y = _cumulative(counts[order])
        panel.plot(x, y, label=label, color=colour, linewidth=2)
    panel.plot([0, 1], [0, 1], color=OTHERS, linestyle=":", linewidth=1.2, label="every item alike")
    panel.set_title("Popularity of what is recommended", loc="left", fontweight="bold")
    panel.set_xlabel("share of the catalogue, most popular items first")
    panel.set_ylabel("cumulative share")
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1.02)
    panel.legend(loc="lower right", frameon=False)
    panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    tidy(panel)
    return figure_png(figure)


def metric_title(metric: str) -> str:
    """Return a metric's name as people write it.

    >>> metric_title("ndcg@10"), metric_title("hit_rate@10")
    ('NDCG@10', 'hit rate@10')
    """
    return metric.replace("ndcg", "NDCG").replace("gini", "Gini").replace("_", " ")


def _metric_panel(panel: Axes, rows: Sequence[MetricRow], ours: str) -> None:
    ordered = sorted(rows, key=lambda row: row.mean)
    means = np.array([row.mean for row in ordered])
    reach = np.array([[row.mean - row.low, row.high - row.mean] for row in ordered]).T.clip(min=0)
    colours = [OURS if row.model == ours else OTHERS for row in ordered]
    panel.barh([row.model for row in ordered], means, color=colours, height=0.62)
    has_interval = bool(reach.any())
    if has_interval:
        panel.errorbar(means, range(len(ordered)), xerr=reach, fmt="none", ecolor="#222222", elinewidth=1.2, capsize=3)
    for position, row in enumerate(ordered):
        panel.annotate(
            f"{row.mean:.3f}",
            (max(row.high, row.mean), position),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    panel.set_title(metric_title(ordered[0].metric), loc="left", fontweight="bold")
    unit = "mean over judged users, 95 % interval" if has_interval else "of all lists together"
    panel.set_xlabel(unit, fontsize=8)
    panel.set_xlim(0, max(1e-6, *(max(row.high, row.mean) for row in ordered)) * 1.18)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8)


def _cumulative(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return x and y of a cumulative share curve from (0, 0), thinned to what a picture can show."""
    total = max(1, int(counts.sum()))
    y = np.concatenate([[0.0], np.cumsum(counts) / total])
    x = np.linspace(0, 1, len(y))
    # Popular items stand close to the left edge: points are kept evenly in the square root of the position.
    keep = np.unique((np.linspace(0, 1, _CURVE_POINTS) ** 2 * (len(y) - 1)).astype(np.int64))
    return x[keep], y[keep]


def tidy(panel: Axes) -> None:
    """Take away what a panel does not need."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=9)


def figure_png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
