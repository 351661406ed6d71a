"""Sections that only a backtest's report has: new users, earlier cuts, re-ranked lists, and the search of settings."""

from typing import TYPE_CHECKING, Final

import numpy as np

from training.curves import plot_cold_items, plot_estimates, plot_newcomers, plot_trials, plot_windows
from training.evaluation.cold_items import ColdItems
from training.evaluation.methods import title_of
from training.evaluation.newcomers import Newcomers, Stage, UnseenItems
from training.evaluation.resampling import Methods
from training.fresh_fit import ALONE, WITH, FreshFit
from training.list_ranking import RankedLists
from training.report import Grid, Picture, Section, in_words
from training.rolling import Rolling

if TYPE_CHECKING:
    from training.tuning.tune import Tuned

_NOBODY: Final = "nobody judged"
_RANKED: Final = "as ranked now"
_LIST_ORDERS: Final = {
    "ranked": _RANKED,
    "shown": "as shown",
    "item_ctr": "by click rate alone",
    "item_lift": "by click rate against the list's",
}
_UNSEEN: Final = (
    "Without `--new-items`, items first seen after training are no labels anywhere on this page: nobody may be offered "
    "them. The table counts how much of what was liked later falls on items that nobody had before the cut."
)
_UNSEEN_LABELS: Final = (
    "With `--new-items`, items of the catalogue that nobody had before the cut are recommended, and are labels. The "
    "table counts how much of what was liked later falls on items that nobody had, be they in the catalogue or not."
)


def newcomers_section(newcomers: Newcomers, *, new_items: bool) -> Section:
    """Return what became of users who came after the cut, and of items that did.

    `new_items` says whether items that nobody had before it were recommended.
    """
    unseen = _UNSEEN_LABELS if new_items else _UNSEEN
    grids = [Grid(["liked later", "events on unseen items", "items", "share of events"], _unseen_rows(newcomers))]
    if not newcomers.stages:
        words = "No new users to judge: either users are cut by share, so that everyone has a history, or nobody came."
        return Section("newcomers", "New users and new items", [words, unseen], (), grids)
    words = (
        f"{newcomers.users} users have their first event after the cut. Each is judged just after the first, second, "
        "fifth and tenth event, with retrieval and ranker of the cut: only the fold-in and the statistics know more. "
        "On the left every stage has its own users: only the right side may be read from stage to stage."
    )
    picture = Picture("newcomers", "95 % intervals over users.", plot_newcomers(newcomers.stages))
    methods = list(newcomers.stages[0].methods)
    return Section(
        "newcomers",
        "New users and new items",
        [words, unseen],
        [picture],
        [Grid(["NDCG@10 after", "users", *methods], [_stage_row(stage) for stage in newcomers.stages]), *grids],
    )


def cold_items_section(found: ColdItems, fresh: FreshFit | None) -> Section:
    """Return how items without a history are ordered among themselves, for users of whom little or much is known.

    `fresh` says how they are ordered, and where they stand among the others.
    """
    title = "New items"
    words = (
        f"{found.items:,} items of the catalogue have no history: only their texts speak for them. {found.users:,} "
        "users with a history liked some of them later. Here these items are ranked among themselves, and of each "
        "user only so many latest events are read. Chance is the floor, the newest first is the usual way out."
    )
    said = [words] if fresh is None else [words, _standing(fresh)]
    if not found.stages:
        return Section("new-items", title, said, (), ())
    methods = list(found.stages[0].methods)
    rows = [
        [
            "all" if stage.events is None else str(stage.events),
            *(in_words(stage.methods[method]["ndcg@10"]) for method in methods),
        ]
        for stage in found.stages
    ]
    picture = Picture("new-items", "95 % intervals over users.", plot_cold_items(found))
    return Section("new-items", title, said, [picture], [Grid(["NDCG@10, events read", *methods], rows)])


def _standing(fresh: FreshFit) -> str:
    """Return in words what orders new items, and what their places in lists were worth on the validation slice."""
    place = "stand where known items are liked as often" if fresh.plan.joins else "stay below all known items"
    taste = f" and {fresh.plan.taste:.3g} times `text_taste`" if fresh.plan.taste else ""
    return (
        f"They are ordered by a ranker of their own{taste}, the less a user liked before, the more also by the "
        f"popularity that their texts promise, and {place}: on the validation slice NDCG@10 of lists was "
        f"{fresh.validation[WITH]:.4f} with them among the others, {fresh.validation[ALONE]:.4f} without."
    )


def _stage_row(stage: Stage) -> list[str]:
    named = f"{stage.events} event" + ("s" if stage.events > 1 else "")
    return [named, str(stage.users), *(in_words(found["ndcg@10"]) for found in stage.methods.values())]


def _unseen_rows(newcomers: Newcomers) -> list[list[str]]:
    found: dict[str, UnseenItems | None] = {
        "by everyone": newcomers.unseen,
        "by new users": newcomers.unseen_of_newcomers,
    }
    return [
        [name, f"{entry.events:,}", f"{entry.items:,}", in_words(entry.share, ".1%")]
        for name, entry in found.items()
        if entry is not None
    ]


def rolling_section(rolling: Rolling, methods: list[str]) -> Section:
    """Return how some methods fare at each cut, and on average; the picture shows cuts at which anybody was judged."""
    mean = rolling.mean()
    methods = [method for method in methods if method in mean]
    cuts = list(zip(rolling.windows, rolling.metrics(), strict=True))
    judged = [(window, found) for window, found in cuts if window.users]
    rows = [[window.name, str(window.users), *_cells(found, methods, window.users)] for window, found in cuts]
    rows.append([f"mean of {_counted(rolling)} cuts", "", *_cells(mean, methods, rolling.judged)])
    names = [f"{window.name}\n{window.users} users" for window, _ in judged]
    picture = plot_windows(names, [found for _, found in judged], methods)
    left_out = [f"{rolling.left_out[0].upper()}{rolling.left_out[1:]}."] if rolling.left_out else []
    return Section(
        "rolling",
        "Several cuts",
        [
            "The same training at earlier times, each judged on a window as long as the last; lists are of the last.",
            *left_out,
        ],
        [Picture("rolling", "95 % intervals over users.", picture)] if judged else [],
        [Grid(["NDCG@10 at", "users", *methods], rows)],
    )


def _counted(rolling: Rolling) -> str:
    return f"{rolling.judged} of {len(rolling.windows)}" if rolling.left_out else "all"


def _cells(found: Methods, methods: list[str], users: int) -> list[str]:
    """Return NDCG@10 of the methods as a row's cells: what was not measured on anybody is no number."""
    return [in_words(found[method]["ndcg@10"]) if users else _NOBODY for method in methods]


def lists_section(ranked: RankedLists) -> Section:
    """Return how logged lists fare in the new order, in the order shown, and by one number of their items."""
    found = {_LIST_ORDERS.get(name, name): estimate for name, estimate in ranked.estimates.items()}
    rows = [[name, in_words(estimate)] for name, estimate in found.items()]
    picture = plot_estimates(found, "NDCG@10 of lists with a click", _RANKED)
    words = (
        f"{len(ranked.entries):,} logged lists after the cut, ordered by: {_order_title(ranked.order_by)}. Clicks are "
        "the labels; lists without one cannot be judged and do not count. Nothing shown or clicked after the cut was "
        "learned from."
    )
    slice_rows = [[_order_title(name), f"{value:.4f}"] for name, value in ranked.validation.items()]
    return Section(
        "lists",
        "Logged lists",
        [words],
        [Picture("lists", "95 % intervals over lists.", picture)],
        [
            Grid(["order", "NDCG@10"], rows, _RANKED),
            Grid(["on the latest lists before the cut", "NDCG@10"], slice_rows),
        ],
    )


def _order_title(name: str) -> str:
    return _LIST_ORDERS.get(name, title_of(name))


def tuning_section(search: "Tuned") -> Section:
    """Return what a search of settings tried, found, and whether it was taken."""
    stages = list(dict.fromkeys(trial.stage for trial in search.trials))
    scores = {stage: np.array([trial.score for trial in search.trials if trial.stage == stage]) for stage in stages}
    rows = [
        [stage, str(len(found)), f"{found[0]:.4f}", f"{found.max():.4f}", f"{int(found.argmax())}"]
        for stage, found in scores.items()
    ]
    settings = [[path, f"{value:.4g}"] for path, value in search.found.items()] or [["the default settings", ""]]
    limited = [] if search.reproducible else ["Time was limited: a repetition may try other settings."]
    return Section(
        "tuning",
        "Search of settings",
        [f"{search.verdict.reason[0].upper()}{search.verdict.reason[1:]}.", *limited],
        [Picture("tuning", "Each stage has a score of its own; trial 0 is the default.", plot_trials(scores))],
        [Grid(["stage", "trials", "default", "best", "in trial"], rows), Grid(["setting found", "value"], settings)],
    )
