"""The page about one backtest."""

from collections.abc import Mapping

from training.backtest import Backtest
from training.bundle.plan import RANKER
from training.config import TrainingConfig
from training.curves import plot_newcomers, plot_windows
from training.evaluation.examples import examples
from training.evaluation.methods import SERVED, TITLES
from training.evaluation.newcomers import Newcomers, Stage, UnseenItems
from training.frames import Loaded
from training.report import Grid, Picture, Report, Section, in_words
from training.report_sections import compared, evaluation_sections, metric_rows, tiles
from training.rolling import Rolling


def backtest_report(
    result: Backtest,
    loaded: Loaded,
    config: TrainingConfig,
    titles: Mapping[str, str],
    rolling: Rolling | None = None,
) -> Report:
    """Return the report of a backtest; `titles` are those of items by external id, where there are any."""
    evaluation = result.evaluation
    sections = evaluation_sections(evaluation)
    sections.insert(4, newcomers_section(result.newcomers))
    if rolling is not None:
        sections.insert(1, _rolling_section(rolling, compared(evaluation)))
    return Report(
        title="Backtest",
        facts=_facts(result, loaded, config),
        metrics=metric_rows(evaluation),
        ours=SERVED,
        sections=sections,
        notes=_notes(result, config),
        tiles=tiles(evaluation),
        examples=examples(evaluation, result.bundle.items, titles, result.bundle.source_names),
    )


def newcomers_section(newcomers: Newcomers) -> Section:
    """Return what became of users who came after the cut, and of items that did."""
    grids = [Grid(["liked later", "events on unseen items", "items", "share of events"], _unseen_rows(newcomers))]
    if not newcomers.stages:
        words = "No stages here: either users are cut by share, so that everyone has a history, or nobody new came."
        return Section("newcomers", "New users and new items", [words, _UNSEEN], (), grids)
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
        [words, _UNSEEN],
        [picture],
        [Grid(["NDCG@10 after", "users", *methods], [_stage_row(stage) for stage in newcomers.stages]), *grids],
    )


_UNSEEN = (
    "Items first seen after training are no labels anywhere on this page, because no candidate source can propose them "
    "yet; the table counts how much of what was liked later falls on them."
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


def _rolling_section(rolling: Rolling, methods: list[str]) -> Section:
    metrics, mean = rolling.metrics(), rolling.mean()
    methods = [method for method in methods if method in mean]
    names = [f"{window.begin}\n{window.users} users" for window in rolling.windows]
    rows = [
        [window.begin, str(window.users), *(in_words(found[method]["ndcg@10"]) for method in methods)]
        for window, found in zip(rolling.windows, metrics, strict=True)
    ]
    rows.append(["mean of all cuts", "", *(in_words(mean[method]["ndcg@10"]) for method in methods)])
    return Section(
        "rolling",
        "Several cuts",
        ["The same training at earlier times, each judged on a window as long as the last; lists are of the last one."],
        [Picture("rolling", "95 % intervals over users.", plot_windows(names, metrics, methods))],
        [Grid(["NDCG@10 at", "users", *methods], rows)],
    )


def _facts(result: Backtest, loaded: Loaded, config: TrainingConfig) -> dict[str, str]:
    manifest, ranker = result.bundle.manifest, result.ranker
    off = [name for name, budget in manifest.plan.budgets.items() if not budget]
    return {
        "Interactions": f"{len(loaded.interactions):,} in the file, {manifest.n_interactions:,} before the cut",
        "Users and items before the cut": f"{manifest.n_users:,} users, {manifest.n_items:,} items",
        "Users with later activity": f"{len(result.users):,}",
        "Judged": f"{result.evaluation.n_users:,} of them: with history, and with a new liked item that was known",
        "Ordered by": manifest.plan.order_by,
        "Without history": f"ordered by {TITLES.get(manifest.plan.cold_source, manifest.plan.cold_source)}",
        "Sources switched off": ", ".join(off) or "none",
        "Ranker": f"{ranker.chosen}, {ranker.ranker.n_trees} trees, {ranker.n_rows:,} rows, {ranker.n_groups:,} lists",
        "Seed": str(config.seed),
        "Feature spec": manifest.spec_hash[:12],
        "Bundle digest": result.bundle.digest,
        "Seconds": ", ".join(f"{name} {value:.0f}" for name, value in result.seconds.items()),
    }


def _notes(result: Backtest, config: TrainingConfig) -> list[str]:
    notes = []
    order = result.bundle.manifest.plan.order_by
    if order != RANKER:
        notes.append(f"No ranker beat {order!r} on the validation slice: lists are ordered by {order!r}.")
    if config.without:
        notes.append(f"Ablation: without {', '.join(config.without)}.")
    if not result.evaluation.n_users:
        notes.append("Nobody has both a history and a new liked item after the cut: nothing was measured.")
    return notes
