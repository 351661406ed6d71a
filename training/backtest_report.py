"""The page about one backtest."""

from collections.abc import Mapping

import numpy as np

from training.backtest import Backtest
from training.backtest_results import NO_CLOCK, NOBODY, Beside
from training.backtest_sections import (
    cold_items_section,
    lists_section,
    newcomers_section,
    rolling_section,
    tuning_section,
)
from training.bundle.plan import RANKER
from training.choice_section import choice_section, instead
from training.config import TrainingConfig
from training.evaluation.examples import examples
from training.evaluation.methods import SERVED, title_of
from training.frames import Loaded
from training.report import Report
from training.report_sections import compared, evaluation_sections, shown_rows, tiles


def backtest_report(
    result: Backtest,
    loaded: Loaded,
    config: TrainingConfig,
    titles: Mapping[str, str],
    beside: Beside,
) -> Report:
    """Return the report of a backtest; `titles` are those of items by external id, where there are any."""
    evaluation = result.evaluation
    sections = evaluation_sections(evaluation)
    sections.insert(4, newcomers_section(result.newcomers, new_items=config.new_items))
    if result.cold_items is not None:
        sections.insert(5, cold_items_section(result.cold_items, result.fresh))
    if beside.rolling is not None:
        sections.insert(1, rolling_section(beside.rolling, compared(evaluation)))
    if result.ranker.learned:
        sections.insert(1, choice_section(result.ranker.choice))
    if beside.ranked is not None:
        sections.append(lists_section(beside.ranked))
    if beside.search is not None:
        sections.append(tuning_section(beside.search))
    return Report(
        title="Backtest",
        facts=_facts(result, loaded, config),
        metrics=shown_rows(evaluation),
        ours=SERVED,
        sections=sections,
        notes=[*beside.warnings, *_notes(result, config)],
        tiles=tiles(evaluation),
        examples=examples(evaluation, result.bundle.items, titles, result.bundle.source_names),
    )


def _facts(result: Backtest, loaded: Loaded, config: TrainingConfig) -> dict[str, str]:
    manifest, ranker, judged = result.bundle.manifest, result.ranker, result.evaluation.judged
    history = judged.history
    met = len(np.unique(history.item))
    more = len(history.items) - met
    off = [name for name, budget in manifest.plan.budgets.items() if not budget]
    return {
        "Interactions": f"{len(loaded.interactions):,} in the file, {manifest.n_interactions:,} before the cut",
        "Cut": result.cut.said(has_clock=loaded.interactions.has_clock),
        "Users and items before the cut": f"{manifest.n_users:,} users, {met:,} items"
        + (f"; {more:,} more of the catalogue alone" if more else ""),
        "Users with later activity": f"{len(result.users):,}",
        "Judged": f"{len(judged):,} of them: with history, and who liked {judged.wanted} later",
        "Ordered by": title_of(manifest.plan.order_by),
        "Without history": f"ordered by {title_of(manifest.plan.cold_source)}",
        "Sources switched off": ", ".join(title_of(name) for name in off) or "none",
        "Ranker": f"{ranker.chosen}, {ranker.ranker.n_trees} trees, {ranker.n_rows:,} rows, {ranker.n_groups:,} lists"
        + ("" if manifest.plan.order_by == RANKER else "; not served"),
        "Seed": str(config.seed),
        "Feature spec": manifest.spec_hash[:12],
        "Bundle digest": result.bundle.digest,
        "Seconds": ", ".join(f"{name} {value:.0f}" for name, value in result.seconds.items()),
    }


def _notes(result: Backtest, config: TrainingConfig) -> list[str]:
    notes = [] if result.bundle.manifest.has_clock else [NO_CLOCK]
    no_ranker = instead(result.ranker.choice) if result.ranker.learned else None
    if no_ranker is not None:
        notes.append(no_ranker)
    if config.without:
        notes.append(f"Ablation: without {', '.join(config.without)}.")
    if not result.evaluation.n_users:
        notes.append(NOBODY)
    return notes
