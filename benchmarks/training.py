"""Training by size: every step of `train_recommender` from Postgres to the alias, each in a process of its own.

Made interactions (see `benchmarks.scaled`) are imported into a Postgres of its own; a champion is there already, so
that the gate judges it anew and compares the two, as it does each night. Times include the start of each process; what
Airflow adds between two tasks, and the data doctor before the first, are not in them.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks.record import RESULTS, ROOT, commit, read, record
from benchmarks.scaled import write_scaled
from benchmarks.services import environment, features, services
from features.settings import Settings
from training.bundle.registry import Registry
from training.publish import Publication, publish
from training.steps.inputs import BUNDLE
from training.steps.state import STEPS, RunFolder

SIZES: Final = (100_000, 300_000, 1_000_000)
LONG_SIZES: Final = (3_000_000,)
RUN: Final = "scale"
ALIAS: Final = "champion"
MODEL: Final = "marquee"
COLOURS: Final = ("#b8c4cc", "#34607d", "#c0392b", "#8aa1b1", "#d9a441", "#5b8a72", "#333333")


def run() -> None:
    """Measure 100 thousand to 1 million interactions."""
    _run(SIZES)


def run_long() -> None:
    """Measure 3 million interactions, and keep the sizes measured before."""
    _run(LONG_SIZES)


def _run(sizes: tuple[int, ...]) -> None:
    known = read("training")
    figures: dict[str, Any] = {} if known is None else known["figures"]
    for size in sizes:
        print(f"training: {size:,} interactions", flush=True)
        figures[str(size)] = measure(size)
    figures = dict(sorted(figures.items(), key=lambda entry: int(entry[0])))
    record("training", figures)
    plot(figures, RESULTS / "training.png")


def measure(size: int) -> dict[str, Any]:
    """Return time and peak memory of each step at a size."""
    with (
        tempfile.TemporaryDirectory() as name,
        services(broker=False, registry=True) as settings,
    ):
        data = _import(settings, Path(name), size)
        folder = RunFolder(Path(name) / "work", RUN)
        registry = Registry(str(settings.mlflow_tracking_uri), MODEL)
        steps = {}
        for step in STEPS:
            if step == "register":
                _serve_already(registry, folder)
            steps[step] = _step(step, _environment(settings, folder))
            print(f"  {step:<10} {steps[step]['seconds']:7.1f} s  {steps[step]['peak_mib']:6,} MiB", flush=True)
        return {
            "commit": commit(),
            "data": data,
            "steps": steps,
            "seconds": round(sum(step["seconds"] for step in steps.values()), 1),
            "peak_mib": max(step["peak_mib"] for step in steps.values()),
            "ranker_rows": folder.finished("ranker").results["rows"],
            "summaries": {step: folder.finished(step).summary for step in STEPS},
        }


def _import(settings: Settings, folder: Path, size: int) -> dict[str, int]:
    """Return what was made and imported."""
    interactions, items = folder / "interactions.parquet", folder / "items.parquet"
    # In a process of its own: a child's peak memory counts that of the process it was forked from.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        data = pool.submit(write_scaled, interactions, items, size).result()
    features(settings, "import", "--interactions", str(interactions), "--items", str(items))
    return data


def _serve_already(registry: Registry, run: RunFolder) -> None:
    """Let the bundle of a run serve as a version of another: the champion that the gate meets."""
    before = Publication("before", run.path / BUNDLE, _digest(run), parameters={}, metrics={}, tags={})
    registry.set_alias(ALIAS, publish(registry, before).version)


def _digest(run: RunFolder) -> str:
    return str(run.finished("ranker").results["digest"])


def _environment(settings: Settings, run: RunFolder) -> dict[str, str]:
    return {
        **environment(settings),
        "MARQUEE_MLFLOW_TRACKING_URI": str(settings.mlflow_tracking_uri),
        "MARQUEE_WORK_DIR": str(run.path.parent),
        "MARQUEE_MODEL_NAME": MODEL,
        "MARQUEE_MODEL_ALIAS": ALIAS,
    }


def _step(step: str, variables: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "training", "step", step, "--run", RUN]
    log = Path(variables["MARQUEE_WORK_DIR"]).parent / f"{step}.log"
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"step {step} failed:\n{log.read_text(encoding='utf-8')[-4000:]}")
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(used.ru_maxrss / 1024),
    }


def plot(figures: dict[str, Any], path: Path) -> None:
    """Draw time by step, stacked, and peak memory, over the number of interactions."""
    mpl.use("Agg")
    names = [_short(int(size)) for size in figures]
    figure, (times, memory) = plt.subplots(1, 2, figsize=(9, 3.6))
    below = [0.0] * len(figures)
    for step, colour in zip(STEPS, COLOURS, strict=True):
        minutes = [found["steps"][step]["seconds"] / 60 for found in figures.values()]
        times.bar(names, minutes, bottom=below, label=step, color=colour)
        below = [one + more for one, more in zip(below, minutes, strict=True)]
    times.set_ylabel("minutes")
    times.legend()
    memory.bar(names, [found["peak_mib"] / 1024 for found in figures.values()], color="#34607d")
    memory.set_ylabel("peak memory of a step, GiB")
    for panel in (times, memory):
        panel.set_xlabel("interactions")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _short(size: int) -> str:
    return f"{size // 1_000_000}M" if size >= 1_000_000 else f"{size // 1000}k"
