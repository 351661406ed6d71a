"""An evaluation as the sections of a report: the same for a training run and for a backtest."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from training.curves import plot_by_history_length, plot_reliability, plot_source_recall
from training.evaluate import Evaluation
from training.evaluation.methods import SERVED, TITLES, title_of
from training.evaluation.segments import Segment
from training.metrics import Estimate, bootstrap_mean
from training.plots import MetricRow, plot_importance, plot_metrics, plot_popularity
from training.report import Grid, Picture, Section, Tile, in_words

_PLOTTED: Final = ("ndcg@10", "recall@20", "hit_rate@10", "coverage@10")
_COMPARED: Final = 3
"""Methods that have a line of their own in plots, popularity aside: the served one and the best baselines."""

_METRICS: Final = (
    "Labels are {} that a user liked later. NDCG@10 weighs each hit among the first ten by its place, over "
    "the best that could be. Recall@20 is hits among the first 20 over min(20, labels), the most that there can be. "
    "Hit rate@10 is the share of users with a hit among the first ten, coverage@10 that of the catalogue in anybody's."
)
_LABELS: Final = {False: "the new items", True: "all known items, those that the user had before too,"}
"""By whether items that a user had may be recommended."""
_METHODS: Final = (
    "A baseline is one source alone, in its own order; where that ends, popular items fill its list up. Where "
    "users are cut at moments of their own, popularity is how often an item was liked in all that was known. The blend "
    "is rank fusion of all. The users are the same."
)
_SOURCES: Final = (
    "How many of the later liked items a source finds depends on how far one reads its list. A source earns "
    "its budget by what no other source proposes. What is not among the candidates, no ranker can put on top. Shares "
    "are of all labels of a user, also where those are more than the items read: they may be less than recall@20."
)
_SOURCES_TABLE: Final = (
    "The table gives shares of labels: within the first so many items of the source's own list, and last those that at "
    "its budget no other source proposes."
)
_SOURCES_CAPTION: Final = (
    "Sources that found nothing are left out. Bands and thin lines, where drawn, are 95 % intervals."
)
_SCORES: Final = (
    "Scores only order candidates: those of lambdarank and of rank fusion are no probabilities and must not be "
    "read as such. What they must do is rise with the share of hits, and that is what the picture checks."
)
_IMPORTANCE: Final = (
    "Mean absolute SHAP value over sampled candidates, from LightGBM's own pred_contrib: how far a feature "
    "moves a score, up or down. It says what the ranker uses, not what causes liking."
)
_LEANING: Final = (
    "Novelty is the mean of -log2 of the share of users who had the item: higher is less known. Average "
    "popularity is that share itself. Gini says how unequally the first ten places fall on the catalogue."
)


def metric_rows(evaluation: Evaluation) -> list[MetricRow]:
    """Return every metric of every method with its interval, the served one first, then the best baseline.

    What is of all lists together has no interval.
    """
    rows = []
    for method in ranked_methods(evaluation):
        metrics = evaluation.metrics[method]
        rows += [MetricRow(method, name, found.mean, found.low, found.high) for name, found in metrics.items()]
        covered = evaluation.coverage[method]
        rows.append(MetricRow(method, "coverage@10", covered, covered, covered))
    return rows


def shown_rows(evaluation: Evaluation) -> list[MetricRow]:
    """Return what a page shows of every method; nothing where nobody was judged: there is no number to show."""
    return metric_rows(evaluation) if evaluation.n_users else []


def leaning_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return novelty and popularity bias of every method, as a table's rows."""
    rows = []
    for method in ranked_methods(evaluation):
        found = evaluation.leanings[method]
        cells = [value if isinstance(value, float) else in_words(value, ".3f") for value in found.values()]
        rows.append([method, *(f"{cell:.3f}" if isinstance(cell, float) else cell for cell in cells)])
    return rows


def best_baseline(evaluation: Evaluation) -> str:
    """Return the method besides the served line with the highest NDCG@10."""
    return ranked_methods(evaluation)[1]


def ranked_methods(evaluation: Evaluation) -> list[str]:
    """Return all methods: the served line, then the baselines by NDCG@10."""
    metrics = evaluation.metrics
    return sorted(metrics, key=lambda method: (method != SERVED, -metrics[method]["ndcg@10"].mean))


def compared(evaluation: Evaluation) -> list[str]:
    """Return the methods that are worth a line of their own: the served one, the best baselines, popularity."""
    ranked = ranked_methods(evaluation)
    return list(dict.fromkeys([*ranked[:_COMPARED], *(name for name in ranked if name == TITLES["popular"])]))


def tiles(evaluation: Evaluation) -> list[Tile]:
    """Return what a reader should see first."""
    if not evaluation.n_users:
        return []
    served = evaluation.metrics[SERVED]
    rival = best_baseline(evaluation)
    gain = evaluation.gains()[rival]
    clear = "better" if gain.low > 0 else "worse" if gain.high < 0 else "not distinguishable"
    recall = bootstrap_mean(evaluation.candidate_recall, evaluation.seed)
    return [
        Tile("NDCG@10", f"{served['ndcg@10'].mean:.4f}", f"{_between(served['ndcg@10'])}, {evaluation.n_users} users"),
        Tile("gain in NDCG@10", f"{gain.mean:+.4f}", f"over {rival}, {_between(gain, '+.4f')}: {clear}"),
        Tile("recall@20", f"{served['recall@20'].mean:.4f}", _between(served["recall@20"])),
        Tile(
            "labels among the candidates", f"{recall.mean:.1%}", f"{_between(recall, '.1%')}: the ceiling of any order"
        ),
    ]


def evaluation_sections(evaluation: Evaluation) -> list[Section]:
    """Return the sections about one evaluation, in reading order; those that have nothing to show are left out."""
    if not evaluation.n_users:
        return []
    sections = [_methods(evaluation), _sources(evaluation), _lengths(evaluation), _items(evaluation)]
    if evaluation.tenths:
        sections.append(_scores(evaluation))
    if evaluation.contributions:
        sections.append(_importance(evaluation))
    return [*sections, _popularity(evaluation)]


def _methods(evaluation: Evaluation) -> Section:
    rows = [row for row in metric_rows(evaluation) if row.metric in _PLOTTED]
    found = evaluation.gains()
    gains = [[name, in_words(found[name], "+.4f")] for name in ranked_methods(evaluation)[1:]]
    return Section(
        "bars",
        "Metrics",
        [_METRICS.format(_LABELS[evaluation.judged.include_seen]), _METHODS],
        [Picture("metrics", "Bars: mean over users. Lines: 95 % interval.", plot_metrics(rows, SERVED))],
        [Grid(["gain in NDCG@10 over", "paired difference"], gains)],
    )


def _sources(evaluation: Evaluation) -> Section:
    rows = [
        [
            title_of(name),
            str(found.budget),
            *(f"{entry.mean:.3f}" for entry in found.recall.values()),
            in_words(found.alone, ".4f"),
        ]
        for name, found in evaluation.sources.items()
    ]
    budgets = [f"first {budget}" for budget in next(iter(evaluation.sources.values())).recall]
    return Section(
        "sources",
        "Candidate sources",
        [_SOURCES, _SOURCES_TABLE],
        [Picture("source-recall", _SOURCES_CAPTION, plot_source_recall(evaluation.sources))],
        [Grid(["source", "budget", *budgets, "only from it"], rows)],
    )


def _lengths(evaluation: Evaluation) -> Section:
    parts = evaluation.segments["history length"]
    methods = compared(evaluation)
    picture = Picture("history-length", "Few users make wide intervals.", plot_by_history_length(parts, methods))
    halves = _segment_rows(evaluation.segments["users"], methods)
    return Section(
        "history",
        "Length of history",
        ["Light users are the half with the shorter histories, heavy users the rest."],
        [picture],
        [Grid(["users", "count", *methods], halves)],
    )


def _segment_rows(parts: Sequence[Segment], methods: Sequence[str], metric: str = "ndcg@10") -> list[list[str]]:
    return [
        [part.name, str(part.users), *(in_words(part.methods[method][metric]) for method in methods)] for part in parts
    ]


def _items(evaluation: Evaluation) -> Section:
    methods = compared(evaluation)
    parts = evaluation.segments["items"]
    grids = [
        Grid([title, "users", *methods], _segment_rows(parts, methods, metric))
        for title, metric in (("NDCG@10 where only these labels count", "ndcg@10"), ("recall@20", "recall@20"))
    ]
    words = "Head items are the most popular ones that make half of all interactions; the tail is everything else."
    return Section("tail", "Head and tail items", [words], (), grids)


def _scores(evaluation: Evaluation) -> Section:
    return Section(
        "reliability",
        "Scores and hits",
        [_SCORES],
        [Picture("reliability", "Candidates of sampled users; 95 % intervals.", plot_reliability(evaluation.tenths))],
    )


def _importance(evaluation: Evaluation) -> Section:
    return Section(
        "importance",
        "What the ranker looks at",
        [_IMPORTANCE],
        [
            Picture(
                "importance", "The twenty features that move scores most.", plot_importance(evaluation.contributions)
            )
        ],
    )


def _popularity(evaluation: Evaluation) -> Section:
    counts = evaluation.popularity.interactions.astype(np.int64)
    return Section(
        "popularity",
        "Popularity of what is recommended",
        [_LEANING],
        [
            Picture(
                "popularity", "The closer to the dotted line, the more even.", plot_popularity(counts, evaluation.shown)
            )
        ],
        [Grid(["method", "novelty@10", "average popularity@10", "Gini@10"], leaning_rows(evaluation), SERVED)],
    )


def _between(estimate: Estimate, form: str = ".4f") -> str:
    return f"{estimate.low:{form}} to {estimate.high:{form}}"
