"""Step `register`: the bundle becomes a version of the registered model; the same run always the same version."""

from typing import Any

from features.contracts.spec import FeatureSpec
from features.contracts.times import zulu
from training.bundle.bundle import Bundle
from training.bundle.registry import TAG_ENCODER, TAG_SPEC_HASH, TAG_TRAINED_UNTIL, Registry
from training.publish import Publication, allow_long_requests, publish
from training.steps.evaluate import REPORT
from training.steps.inputs import BUNDLE, INTERACTIONS, TUNED, read_bundle, training_config
from training.steps.runner import StepContext, StepResult
from training.steps.tuning import record_trials

_EXAMPLE_ITEMS = 3


def run(context: StepContext) -> StepResult:
    """Publish run, plots, report and bundle to MLflow, and the trials of a search that are not there yet."""
    bundle = read_bundle(context)
    record_trials(context)
    version = publish(registry_of(context), _publication(context, bundle))
    return StepResult(
        f"version {version.version}, digest {bundle.digest[:12]}",
        {"version": version.version, "mlflow_run": version.run_id, "digest": bundle.digest},
    )


def registry_of(context: StepContext) -> Registry:
    """Return the registry, with the patience of a batch job."""
    allow_long_requests()
    return Registry(str(context.settings.mlflow_tracking_uri), context.settings.model_name)


def _publication(context: StepContext, bundle: Bundle) -> Publication:
    run = context.run
    snapshot, trained = run.finished("snapshot").results, run.finished("retrieval").results
    return Publication(
        run=run.run,
        bundle=run.path / BUNDLE,
        digest=bundle.digest,
        parameters=_parameters(context, bundle, snapshot, trained),
        metrics=run.finished("evaluate").results["metrics"],
        tags=_tags(bundle, str(trained["trained_until"])),
        files=run.path / REPORT,
        dataset=(run.path / INTERACTIONS, str(snapshot["sha256"])),
        example_items=tuple(bundle.items.external(bundle.statistics.count.argsort()[::-1][:_EXAMPLE_ITEMS])),
        description=_description(context, bundle.spec),
    )


def _tags(bundle: Bundle, trained_until: str) -> dict[str, str]:
    tags = {TAG_SPEC_HASH: bundle.manifest.spec_hash, TAG_TRAINED_UNTIL: trained_until}
    return tags if bundle.encoder is None else tags | {TAG_ENCODER: bundle.encoder}


def _parameters(
    context: StepContext, bundle: Bundle, snapshot: dict[str, Any], trained: dict[str, Any]
) -> dict[str, Any]:
    options = context.options
    return training_config(context, bundle.parts.weights).parameters() | {
        "window_days": options.window_days,
        "since": None if options.since is None else zulu(options.since),
        "until": None if options.until is None else zulu(options.until),
        "min_events": options.min_events,
        "tune_trials": options.tune_trials,
        "tune_minutes": options.tune_minutes,
        "tuned": ", ".join(trained[TUNED]),
        "reproducible": options.tune_minutes is None,
        "data_from": snapshot["first_at"],
        "data_to": snapshot["last_at"],
        "data_interactions": snapshot["interactions"],
        "data_sha256": snapshot["sha256"],
        "trained_until": trained["trained_until"],
        "trained_interactions": bundle.manifest.n_interactions,
        "trained_users": bundle.manifest.n_users,
        "trained_items": bundle.manifest.n_items,
        "spec_hash": bundle.manifest.spec_hash,
        "order_by": bundle.manifest.plan.order_by,
        "code_version": bundle.manifest.code_version,
        "bundle_digest": bundle.digest,
    }


def _description(context: StepContext, spec: FeatureSpec) -> str:
    lines = [f"**{step}**: {context.run.finished(step).summary}" for step in ("snapshot", "retrieval", "ranker")]
    lines.append(f"**evaluate**: {context.run.finished('evaluate').summary}")
    lines.append(f"{len(spec.names)} features. The report lies among the run's artifacts (`report/report.html`).")
    return "  \n".join(lines)
