"""What ``python -m training skew`` does: checks, writes, publishes, prints."""

from datetime import UTC, datetime
from pathlib import Path

import typer
from prometheus_client import generate_latest, write_to_textfile

from features.log import configure_logging
from features.settings import load_settings
from training.bundle.registry import Registry
from training.publish import allow_long_requests
from training.skew.check import Asked, check
from training.skew.metrics import metrics_of
from training.skew.page import lines_of
from training.skew.publish import publish_result, write_result


def execute(hours: float, limit: int, out: Path | None, *, prometheus: bool, prometheus_file: Path | None) -> int:
    """Return the exit code: 1 for skew, 0 for everything else."""
    settings = load_settings()
    configure_logging(settings.log_format)
    allow_long_requests()
    registry = Registry(str(settings.mlflow_tracking_uri), settings.model_name)
    version = registry.by_alias(settings.model_alias)
    if version is None:
        typer.echo(f"no version has the alias {settings.model_alias!r}: nothing is served, nothing to check")
        return 0
    result = check(settings, registry, version, Asked(datetime.now(UTC), hours, limit))
    folder = out or settings.work_dir / "skew"
    page = write_result(result, folder)
    run = publish_result(registry, version, result, folder)
    metrics = metrics_of(result)
    if prometheus_file is not None:
        write_to_textfile(str(prometheus_file), metrics)
    if prometheus:
        typer.echo(generate_latest(metrics).decode(), nl=False)
    else:
        *lines, verdict = lines_of(result)
        typer.echo("\n".join([*lines, f"  report: {page}; MLflow run {run}", verdict]))
    return 1 if result.status == "skewed" else 0
