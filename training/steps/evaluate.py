"""Step `evaluate`: the bundle on its judging window beside every baseline; metrics, pictures and the report."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import structlog

from training.bundle.bundle import Bundle
from training.catalogue import published_after
from training.choice import Choice
from training.choice_section import choice_section, instead
from training.evaluate import Evaluation, evaluate
from training.evaluation.examples import Example, examples
from training.evaluation.methods import SERVED
from training.frames import load_titles
from training.json_text import json_text
from training.judging import judged_after
from training.metrics import Estimate, Floats, bootstrap_mean
from training.ranker import UNLEARNED
from training.report import Report, Section, write_report
from training.report_sections import evaluation_sections, metric_rows, shown_rows, tiles
from training.steps.folders import fresh_folder
from training.steps.inputs import read_bundle, read_inputs, trained_until_us
from training.steps.ranker import CHOICE
from training.steps.runner import StepContext, StepResult

log = structlog.get_logger(__name__)

FOLDER: Final = Path("evaluate")
REPORT: Final = FOLDER / "report"
POPULARITY: Final = "popularity"
LISTS: Final = FOLDER / "lists.npy"
"""Lists of the judged users, int32 (n_users, K) in the bundle's items."""
_VALUES: Final = FOLDER / "values"
NOBODY: Final = "Nobody in the judging window has both a history and a new liked item: nothing was measured."


def run(context: StepContext) -> StepResult:
    """Write per-user values and lists for the gate, and the report with ``metrics.json`` and its pictures."""
    inputs, bundle = read_inputs(context), read_bundle(context)
    start_us = trained_until_us(context)
    judged = judged_after(
        inputs.interactions,
        start_us,
        bundle.items,
        include_seen=not inputs.config.exclude_seen,
        later=published_after(inputs.items_file, bundle.items, start_us),
    )
    evaluation = evaluate(
        bundle.recommender, judged, seed=inputs.config.seed, progress=lambda what: log.info("evaluating", what=what)
    )
    folder = fresh_folder(context.run.path / FOLDER)
    (folder / REPORT.name).mkdir()
    # Beside the pages, whose folder MLflow keeps: novelty, segments and reliability are no metrics of the run there.
    (folder / REPORT.name / "metrics.json").write_text(json_text(evaluation.to_json()), encoding="utf-8")
    for method in (SERVED, POPULARITY):
        write_values(context.run.path, method, evaluation.values[method])
    np.save(context.run.path / LISTS, evaluation.lists[SERVED], allow_pickle=False)
    rows = metric_rows(evaluation)
    recall, titles = bootstrap_mean(evaluation.candidate_recall, evaluation.seed), load_titles(inputs.items_file)
    write_report(_report(context, bundle, evaluation, recall, titles), context.run.path / REPORT)
    served = {row.metric: row for row in rows if row.model == SERVED}
    ndcg = served["ndcg@10"]
    metrics = {f"{row.model}/{row.metric}" if row.model != SERVED else row.metric: row.mean for row in rows}
    metrics |= {"candidate_recall": recall.mean, "judged_users": evaluation.n_users}
    metrics |= {f"{name}_low": row.low for name, row in served.items()}
    metrics |= {f"{name}_high": row.high for name, row in served.items()}
    told = f"{evaluation.n_users} users: NDCG@10 {ndcg.mean:.4f} [{ndcg.low:.4f}, {ndcg.high:.4f}]"
    return StepResult(
        told if evaluation.n_users else NOBODY,
        {"users": evaluation.n_users, "metrics": {name: one for name, one in metrics.items() if np.isfinite(one)}},
    )


def write_values(run_folder: Path, method: str, values: dict[str, Floats]) -> None:
    """Keep the per-user values of one method, for paired comparison."""
    folder = run_folder / _VALUES / method
    folder.mkdir(parents=True, exist_ok=True)
    for metric, array in values.items():
        np.save(folder / f"{metric}.npy", array, allow_pickle=False)


def read_values(run_folder: Path, method: str) -> dict[str, Floats]:
    """Return the per-user values of one method, by metric."""
    files = sorted((run_folder / _VALUES / method).glob("*.npy"))
    return {file.stem: np.load(file, allow_pickle=False) for file in files}


def _report(
    context: StepContext, bundle: Bundle, evaluation: Evaluation, recall: Estimate, titles: Mapping[str, str]
) -> Report:
    facts = {
        "Run": context.run.run,
        "Data": context.run.finished("snapshot").summary,
        "Trained on": context.run.finished("retrieval").summary,
        "Ranker": context.run.finished("ranker").summary,
        "Judged users": str(evaluation.n_users),
        "Labels among the candidates": f"{recall.mean:.1%} [{recall.low:.1%}, {recall.high:.1%}]",
        "Feature spec": bundle.manifest.spec_hash[:12],
        "Bundle digest": bundle.digest,
        "Code": bundle.manifest.code_version,
    }
    return Report(
        title=f"Training run {context.run.run}",
        facts=facts,
        metrics=shown_rows(evaluation),
        ours=SERVED,
        sections=_sections(context, evaluation),
        notes=_notes(context, evaluation),
        tiles=tiles(evaluation),
        examples=_nameless(examples(evaluation, bundle.items, titles, bundle.source_names)),
    )


def _sections(context: StepContext, evaluation: Evaluation) -> list[Section]:
    sections, choice = evaluation_sections(evaluation), _choice(context)
    if choice is not None:
        sections.insert(1, choice_section(choice))
    return sections


def _choice(context: StepContext) -> Choice | None:
    """Return what the ranker's step chose; None where there was nothing to choose by, or an earlier version did it."""
    told = context.run.finished("ranker").results.get(CHOICE)
    choice = None if told is None else msgspec.convert(told, Choice)
    return choice if choice is not None and choice.leads else None


def _nameless(found: list[Example]) -> list[Example]:
    """Return examples by number instead of the user's id: an erasure does not reach pages in MLflow."""
    return [replace(example, user=str(number)) for number, example in enumerate(found, start=1)]


def _notes(context: StepContext, evaluation: Evaluation) -> list[str]:
    choice = _choice(context)
    found = [
        None if context.run.finished("ranker").results["groups"] else UNLEARNED,
        None if choice is None else instead(choice),
    ]
    notes = [note for note in found if note is not None]
    if not evaluation.n_users:
        notes.append(NOBODY)
    return notes
