"""Step `evaluate`: the bundle on its judging window beside every baseline; metrics, pictures and the report."""

import json
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import structlog

from training.bundle.bundle import Bundle
from training.data import Interactions
from training.evaluate import SERVED, Evaluation, evaluate
from training.judging import in_items_of, judged_after
from training.metrics import Floats, bootstrap_mean
from training.plots import MetricRow, plot_importance, plot_metrics, plot_popularity
from training.report import Picture, Report, write_report
from training.steps.folders import fresh_folder
from training.steps.inputs import Inputs, read_bundle, read_inputs, trained_until_us
from training.steps.runner import StepContext, StepResult

log = structlog.get_logger(__name__)

FOLDER: Final = Path("evaluate")
REPORT: Final = FOLDER / "report"
POPULARITY: Final = "popularity"
_VALUES: Final = FOLDER / "values"


def run(context: StepContext) -> StepResult:
    """Write per-user values for the gate, ``metrics.json``, and the report with its pictures."""
    inputs, bundle = read_inputs(context), read_bundle(context)
    judged = judged_after(inputs.interactions, trained_until_us(context), bundle.items)
    evaluation = evaluate(
        bundle.recommender, judged, seed=inputs.config.seed, progress=lambda what: log.info("evaluating", what=what)
    )
    folder = fresh_folder(context.run.path / FOLDER)
    (folder / "metrics.json").write_text(json.dumps(evaluation.to_json(), indent=1) + "\n", encoding="utf-8")
    for method in (SERVED, POPULARITY):
        write_values(context.run.path, method, evaluation.values[method])
    rows = metric_rows(evaluation)
    report = _report(context, inputs, bundle, evaluation, rows)
    write_report(report, context.run.path / REPORT)
    served = {row.metric: row for row in rows if row.model == SERVED}
    ndcg = served["ndcg@10"]
    return StepResult(
        f"{evaluation.n_users} users: NDCG@10 {ndcg.mean:.4f} [{ndcg.low:.4f}, {ndcg.high:.4f}]",
        {
            "users": evaluation.n_users,
            "metrics": {f"{row.model}/{row.metric}" if row.model != SERVED else row.metric: row.mean for row in rows}
            | {"candidate_recall": float(evaluation.candidate_recall.mean()), "judged_users": evaluation.n_users}
            | {f"{name}_low": row.low for name, row in served.items()}
            | {f"{name}_high": row.high for name, row in served.items()},
        },
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


def metric_rows(evaluation: Evaluation) -> list[MetricRow]:
    """Return every metric of every method with its interval; coverage is one number for all users and has none."""
    rows = []
    for method, metrics in evaluation.metrics().items():
        rows += [MetricRow(method, name, found.mean, found.low, found.high) for name, found in metrics.items()]
        covered = evaluation.coverage[method]
        rows.append(MetricRow(method, "coverage@10", covered, covered, covered))
    return rows


def _report(
    context: StepContext, inputs: Inputs, bundle: Bundle, evaluation: Evaluation, rows: list[MetricRow]
) -> Report:
    trained = in_items_of(_before(inputs.interactions, bundle.manifest.trained_until_us), bundle.items)
    counts = np.bincount(trained.item[trained.weight > 0], minlength=len(bundle.items))
    pictures = [Picture("metrics", "Metrics against the baselines", plot_metrics(rows, SERVED))]
    if bundle.parts.ranker is not None:
        pictures.append(Picture("importance", "What the ranker looks at", plot_importance(*_importance(bundle))))
    pictures.append(
        Picture("popularity", "Popularity of what is recommended", plot_popularity(counts, evaluation.shown))
    )
    recall = bootstrap_mean(evaluation.candidate_recall, inputs.config.seed)
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
    return Report(f"Training run {context.run.run}", facts, rows, SERVED, pictures, _notes(bundle, evaluation))


def _importance(bundle: Bundle) -> tuple[list[str], npt.NDArray[np.float64]]:
    ranker = bundle.parts.ranker
    gains = np.zeros(len(bundle.spec.names)) if ranker is None else ranker.feature_importance("gain")
    return list(bundle.spec.names), np.asarray(gains, dtype=np.float64)


def _notes(bundle: Bundle, evaluation: Evaluation) -> list[str]:
    notes = []
    if bundle.parts.ranker is None:
        order = bundle.manifest.plan.order_by
        notes.append(f"The ranker did not beat {order!r} on the validation slice: lists are ordered by {order!r}.")
    if not evaluation.n_users:
        notes.append("Nobody in the judging window has both a history and a new liked item: nothing was measured.")
    return notes


def _before(interactions: Interactions, until_us: int) -> Interactions:
    return interactions.take(np.flatnonzero(interactions.at_us < until_us))
