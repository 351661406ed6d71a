"""Step `ranker`: LightGBM on candidates of past moments, and the finished bundle."""

from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from training.bundle.read import check_golden, open_bundle
from training.bundle.write import write_bundle
from training.code_version import code_version
from training.evaluation.methods import title_of
from training.fit import fit_at_moments
from training.moments import time_moments
from training.ranker import UNLEARNED
from training.steps import retrieval
from training.steps.folders import fresh_folder
from training.steps.inputs import BUNDLE, read_inputs, trained_until_us
from training.steps.runner import StepContext, StepResult
from training.texts import texts_of

log = structlog.get_logger(__name__)

CHOICE: Final = "choice"


def run(context: StepContext) -> StepResult:
    """Write the bundle: retrieval of the step before, and the ranker, or the source that did better than it."""
    inputs = read_inputs(context)
    until_us = trained_until_us(context)
    digest = str(context.run.finished("retrieval").results["digest"])
    fitted = open_bundle(context.run.path / retrieval.FOLDER, digest).parts
    training = inputs.training(until_us, texts_of(fitted), fitted.items)
    moments = time_moments(
        training.interactions, until_us, inputs.config.moments, include_seen=not inputs.config.exclude_seen
    )
    fit = fit_at_moments(training, moments, inputs.config, lambda what: log.info("fitting", what=what))
    parts, known = fit.choose(fitted), fit.known
    path = fresh_folder(context.run.path / BUNDLE)
    digest = write_bundle(
        path, parts, created_at=datetime.now(UTC), code_version=code_version(), seed=inputs.config.seed
    )
    check_golden(open_bundle(path, digest))
    served = f"{known.n_rows} rows of {known.n_groups} users; served order: {title_of(parts.plan.order_by)}"
    return StepResult(
        served if known.learned else UNLEARNED,
        {
            "digest": digest,
            "rows": known.n_rows,
            "groups": known.n_groups,
            "order_by": parts.plan.order_by,
            "validation_ndcg@10": known.validation,
            "dislike": fit.dislike,
            CHOICE: msgspec.to_builtins(known.choice),
            "new_items": None if fit.fresh is None else fit.fresh.to_json(),
        },
    )
