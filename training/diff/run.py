"""Making a diff of two registered versions, and keeping it with the MLflow run of the second one."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from features.build.snapshot import ITEMS_FILE, write_snapshot
from features.contracts.weights import ActionWeights
from features.settings import Settings
from training.bundle.registry import Registry, translated
from training.bundle.versions import RegisteredVersion
from training.diff.compute import USERS, Data, diff_of
from training.diff.names import ARTIFACTS
from training.diff.page import page_of
from training.diff.result import Diff
from training.diff.sides import open_side
from training.frames import load_snapshot
from training.progress import Progress, silent
from training.report import render
from training.steps.inputs import INTERACTIONS, ITEMS, SNAPSHOT
from training.steps.state import DONE, RunFolder


@dataclass(frozen=True, slots=True)
class Asked:
    """How many users to compare on, and the seed that draws them."""

    users: int = USERS
    seed: int = 0


def make_diff(
    registry: Registry,
    pair: tuple[RegisteredVersion, RegisteredVersion],
    data: Data,
    asked: Asked,
    progress: Progress = silent,
) -> Diff:
    """Return what is different between two versions, the second one being what the first may be replaced by.

    Raises
    ------
    BundleError
        If one cannot be opened by this code.
    """
    with tempfile.TemporaryDirectory(prefix="marquee-diff-") as folder:
        progress(f"opening versions {pair[0].version} and {pair[1].version}")
        sides = (open_side(registry, pair[0], Path(folder)), open_side(registry, pair[1], Path(folder)))
        return diff_of(sides, data, users=asked.users, seed=asked.seed, progress=progress)


@contextmanager
def newest_data(settings: Settings, progress: Progress = silent) -> Iterator[Data]:
    """Yield the newest snapshot of a training run; without one, what Postgres holds now, as files of their own."""
    run = newest_run(settings.work_dir)
    if run is not None:
        yield data_of(run)
        return
    progress("copying what is known from Postgres")
    with tempfile.TemporaryDirectory(prefix="marquee-diff-") as name:
        folder = Path(name)
        info = write_snapshot(settings, folder)
        loaded = load_snapshot(folder, info.weights)
        yield Data(loaded, folder / ITEMS_FILE, "what Postgres holds now")


def data_of(run: RunFolder) -> Data:
    """Return the snapshot of a run."""
    record = run.finished("snapshot")
    loaded = load_snapshot(run.path / SNAPSHOT, ActionWeights.from_json(record.results["weights"]))
    return Data(loaded, run.path / ITEMS, f"the snapshot of run {run.run}: {record.summary}")


def newest_run(work_dir: Path) -> RunFolder | None:
    """Return the run whose snapshot reaches furthest, None where none is left."""
    found = []
    for record_file in work_dir.glob("*/snapshot.json"):
        run = RunFolder(work_dir, record_file.parent.name)
        record = run.record("snapshot")
        if record is not None and record.outcome == DONE and (run.path / INTERACTIONS).is_dir():
            found.append((str(record.results["known_until"]), record.finished_at, run.run))
    return RunFolder(work_dir, max(found)[2]) if found else None


def log_diff(registry: Registry, diff: Diff) -> str:
    """Return the path of the page among the artifacts of the second version's run, where it now lies.

    Raises
    ------
    UnavailableError
        If MLflow cannot be reached.
    """
    run_id = diff.sides[1].version.run_id
    client = MlflowClient(registry.tracking_uri, registry.tracking_uri)
    page = f"{ARTIFACTS}/{diff.name}.html"
    try:
        client.log_text(run_id, render(page_of(diff)), page)
        client.log_text(run_id, json.dumps(diff.to_json(), indent=1), f"{ARTIFACTS}/{diff.name}.json")
    except (MlflowException, requests.RequestException) as error:
        raise translated(error, f"run {run_id} in MLflow at {registry.tracking_uri}") from error
    return page
