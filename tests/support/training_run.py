"""Steps of training runs, as Airflow calls them, and what they leave."""

import os
import subprocess
from pathlib import Path

from pydantic import AnyUrl, SecretStr

from features.settings import Settings
from tests.support.commands import run_command
from tests.support.processes import uncounted
from tests.support.taste_events import taste_events, taste_items
from training.bundle.registry import Registry
from training.steps.state import RunFolder

Environment = dict[str, str]


def command(environment: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Return a finished command of the project."""
    return run_command(*arguments, environment=environment)


def step(environment: Environment, name: str, run: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Return a finished step of a run."""
    return command(uncounted(environment), "training", "step", name, "--run", run, *options)


def folder(environment: Environment, run: str) -> RunFolder:
    """Return what a run keeps of itself."""
    return RunFolder(Path(environment["MARQUEE_WORK_DIR"]), run)


def registry(environment: Environment) -> Registry:
    """Return the registry that steps publish to."""
    return Registry(environment["MARQUEE_MLFLOW_TRACKING_URI"], environment["MARQUEE_MODEL_NAME"])


def settings_of(environment: Environment) -> Settings:
    """Return the settings that a step reads from its environment."""
    return Settings(
        database_url=SecretStr(environment["MARQUEE_DATABASE_URL"]),
        mlflow_tracking_uri=AnyUrl(environment["MARQUEE_MLFLOW_TRACKING_URI"]),
        model_name=environment["MARQUEE_MODEL_NAME"],
        work_dir=Path(environment["MARQUEE_WORK_DIR"]),
    )


def filled(database_url: str, mlflow_uri: str, work: Path, model: str) -> Environment:
    """Return the environment of steps whose database holds the tastes of `taste_events`."""
    environment = {
        **os.environ,
        "MARQUEE_DATABASE_URL": database_url,
        "MARQUEE_MLFLOW_TRACKING_URI": mlflow_uri,
        "MARQUEE_MODEL_NAME": model,
        "MARQUEE_WORK_DIR": str(work),
    }
    events, catalogue = work / "events.parquet", work / "catalogue.parquet"
    taste_events().to_parquet(events, index=False)
    taste_items().to_parquet(catalogue, index=False)
    imported = command(environment, "features", "import", "--interactions", str(events), "--items", str(catalogue))
    assert imported.returncode == 0, imported.stderr
    return environment
