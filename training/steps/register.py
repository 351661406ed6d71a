"""Step `register`: the bundle becomes a version of the registered model; the same run always the same version."""

from collections.abc import Mapping
from typing import Any, Final

from features.contracts.times import zulu
from training.bundle.bundle import Bundle
from training.bundle.challenger import refresh_challenger
from training.bundle.registry import Registry
from training.bundle.versions import TAG_ENCODER, TAG_SPEC_HASH, TAG_TRAINED_UNTIL
from training.datasets import LoggedData
from training.describing import describe
from training.publish import Publication, allow_long_requests, metric_key, publish
from training.steps.evaluate import REPORT
from training.steps.inputs import BUNDLE, DIGEST, SNAPSHOT, TUNED, read_bundle, training_config
from training.steps.keeping import remove_old_runs, runs_of_aliases
from training.steps.runner import StepContext, StepResult
from training.steps.tuning import record_trials
from training.system_metrics import samples_of

_EXAMPLE_ITEMS: Final = 3
_TAGGED: Final = ("ndcg@10", "recall@20", "judged_users")
"""Metrics that are tags, too: pages that list versions show and search those."""


def run(context: StepContext) -> StepResult:
    """Publish run, plots, report and bundle to MLflow, and the trials of a search that are not there yet."""
    bundle = read_bundle(context)
    record_trials(context)
    registry = registry_of(context)
    version = publish(registry, _publication(context, bundle))
    refresh_challenger(registry, context.settings.model_alias)
    describe(registry, version.version, context.settings.model_alias)
    remove_old_runs(context.settings.work_dir, context.settings.keep_runs, runs_of_aliases(registry))
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
        tags=_tags(bundle, str(trained["trained_until"]), run.finished("evaluate").results["metrics"]),
        files=run.path / REPORT,
        datasets=_datasets(context, snapshot, trained),
        system=samples_of(run),
        example_items=tuple(bundle.items.external(bundle.statistics.count.argsort()[::-1][:_EXAMPLE_ITEMS])),
    )


def _tags(bundle: Bundle, trained_until: str, metrics: Mapping[str, float]) -> dict[str, str]:
    """Return what versions can be searched by."""
    manifest = bundle.manifest
    tags = {
        TAG_SPEC_HASH: manifest.spec_hash,
        TAG_TRAINED_UNTIL: trained_until,
        "code_version": manifest.code_version,
        "order_by": manifest.plan.order_by,
        "users": str(manifest.n_users),
        "items": str(manifest.n_items),
        "interactions": str(manifest.n_interactions),
        **{metric_key(name): f"{metrics[name]:.4g}" for name in _TAGGED if name in metrics},
    }
    return tags if bundle.encoder is None else tags | {TAG_ENCODER: bundle.encoder}


def _datasets(context: StepContext, snapshot: dict[str, Any], trained: dict[str, Any]) -> tuple[LoggedData, ...]:
    """Return the two parts of the snapshot: what was fitted on, and what was judged on."""
    folder, digest = context.run.path / SNAPSHOT, str(snapshot[DIGEST])
    fitted, rows = int(trained["interactions"]), int(snapshot["interactions"])
    run, until = context.run.run, trained["trained_until"]
    # MLflow keeps one data set of a name and digest: with the run's name each has its own place.
    return (
        LoggedData(f"{run}: interactions before {until}", folder, digest, fitted, "training"),
        LoggedData(f"{run}: interactions from {until} on", folder, digest, rows - fitted, "evaluation"),
    )


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
