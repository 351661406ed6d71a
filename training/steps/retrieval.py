"""Step `retrieval`: item factors, neighbour tables and index, fitted on everything before the judging window."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from training.bundle.write import write_bundle
from training.code_version import code_version
from training.gating.rules_file import load_rules
from training.judging import judging_start
from training.retrieval import fit_retrieval
from training.steps.folders import fresh_folder
from training.steps.inputs import JUDGED_FROM, TRAINED_UNTIL, TUNED, read_inputs
from training.steps.runner import StepContext, StepResult
from training.steps.tuning import RESULTS, search_settings

FOLDER: Final = Path("retrieval")


def run(context: StepContext) -> StepResult:
    """Search settings if the run asks for it, and write a bundle without a ranker, which the next step reads."""
    rules, inputs = load_rules(context.settings.gate), read_inputs(context)
    fixed = context.run.finished("snapshot").results.get(JUDGED_FROM)
    until_us = fixed or judging_start(
        inputs.interactions, rules.window_users, include_seen=not context.options.exclude_seen
    )
    training = inputs.training(until_us)
    training = replace(training, texts=inputs.texts(training.interactions.items))
    search = search_settings(context, training, inputs.config)
    parts = fit_retrieval(training, inputs.config if search is None else search.config)
    digest = write_bundle(
        fresh_folder(context.run.path / FOLDER),
        parts,
        created_at=datetime.now(UTC),
        code_version=code_version(),
        seed=inputs.config.seed,
    )
    trained_until = datetime.fromtimestamp(until_us / 1e6, tz=UTC).isoformat(timespec="seconds")
    return StepResult(
        f"{len(training.interactions)} interactions before {trained_until}, {len(parts.items)} items, "
        f"{parts.index_info.kind} index" + ("" if search is None else f"; {search.verdict.reason}"),
        {
            "digest": digest,
            "trained_until": trained_until,
            TRAINED_UNTIL: until_us,
            "judged_until_us": int(inputs.interactions.at_us[-1]) + 1,
            "interactions": len(training.interactions),
            TUNED: {} if search is None else search.values,
            RESULTS: None if search is None else search.to_json(),
        },
    )
