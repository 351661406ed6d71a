"""Training by size: the steps of `train_recommender` that compute, each in a process of its own, on two cores.

The snapshot's files are made (see `benchmarks.scaled`) instead of copied from Postgres, and nothing is registered:
the steps before and after the measured ones are copies of files. Times include the start of each process.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks.record import RESULTS, ROOT, commit, read, record
from benchmarks.scaled import write_scaled
from features.contracts.weights import ActionWeights
from training.steps.inputs import SNAPSHOT
from training.steps.options import RunOptions, write_options
from training.steps.state import DONE, RunFolder, StepRecord

STEPS: Final = ("retrieval", "ranker", "evaluate")
SIZES: Final = (100_000, 300_000, 1_000_000)
LONG_SIZES: Final = (3_000_000,)
RUN: Final = "scale"
WEIGHTS: Final = ActionWeights(rating_scale=10.0)


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
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as name:
        folder = RunFolder(Path(name), RUN)
        data = _prepare(folder, size)
        steps = {}
        for step in STEPS:
            steps[step] = _step(step, Path(name))
            print(f"  {step:<10} {steps[step]['seconds']:7.1f} s  {steps[step]['peak_mib']:6,} MiB", flush=True)
        ranker = folder.finished("ranker")
        return {
            "commit": commit(),
            "data": data,
            "steps": steps,
            "seconds": round(sum(step["seconds"] for step in steps.values()), 1),
            "peak_mib": max(step["peak_mib"] for step in steps.values()),
            "ranker_rows": ranker.results["rows"],
            "summaries": {step: folder.finished(step).summary for step in STEPS},
        }


def _prepare(run: RunFolder, size: int) -> dict[str, int]:
    """Leave in the run's folder what the step `snapshot` would have left there."""
    (run.path / SNAPSHOT).mkdir(parents=True)
    write_options(run, RunOptions())
    # In a process of its own: a child's peak memory counts that of the process it was forked from.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        data = pool.submit(write_scaled, run.path / SNAPSHOT, size).result()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    results = {"weights": WEIGHTS.to_json()}
    run.finish(StepRecord("snapshot", DONE, f"{size} made interactions", now, 0.0, results))
    return data


def _step(step: str, work_dir: Path) -> dict[str, Any]:
    environment = {
        **os.environ,
        "MARQUEE_WORK_DIR": str(work_dir),
        "MARQUEE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",  # these steps read files only
    }
    command = [sys.executable, "-m", "training", "step", step, "--run", RUN]
    log = work_dir / f"{step}.log"
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
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
    for step, colour in zip(STEPS, ("#34607d", "#c0392b", "#8aa1b1"), strict=True):
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
