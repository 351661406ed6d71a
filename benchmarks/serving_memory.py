"""Memory of each server worker, and the time until all of them serve, by size of the catalogue."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
from matplotlib.figure import Figure

from benchmarks.bundle_server import bundle_server
from benchmarks.made_up import write_made_up_bundle
from benchmarks.record import RESULTS, read, record
from serving.bundle_cache import BundleCache, LastGood
from tests.support.processes import memory_of
from training.plots import figure_png, tidy

NAME: Final = "serving_memory"
SIZES: Final = (10_000, 100_000)
LARGE: Final = (1_000_000,)
WORKERS: Final = (1, 2)
REQUESTS: Final = 200


def run(sizes: Sequence[int] = SIZES) -> None:
    """Measure one worker and two, and record figures and a plot; sizes measured earlier stay."""
    before = read(NAME)
    figures = {} if before is None else before["figures"]
    for n_items in sizes:
        print(f"{NAME}: {n_items} items", flush=True)
        figures[f"{n_items} items"] = _measure(n_items)
    figures = dict(sorted(figures.items(), key=lambda entry: int(entry[0].split()[0])))
    record(NAME, figures)
    (RESULTS / f"{NAME}.png").write_bytes(_plot(figures))


def run_large() -> None:
    """The same with a million items."""
    run(LARGE)


def _measure(n_items: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="marquee-memory-") as name:
        cache = BundleCache(Path(name) / "bundles")
        with cache.incoming() as incoming:
            digest = write_made_up_bundle(incoming / "bundle", n_items)
            size = sum(file.stat().st_size for file in (incoming / "bundle").iterdir())
            cache.install(incoming / "bundle", digest)
        cache.remember(LastGood("1", digest, "made-up"))
        found = {str(workers): _serve(cache.folder, workers) for workers in WORKERS}
        cache.prune(())
        shutil.rmtree(cache.folder)
    return {"bundle_mib": round(size / 2**20), "workers": found}


def _serve(cache: Path, workers: int) -> dict[str, Any]:
    with bundle_server(cache, workers) as (process, client, start_s):
        _use(client)
        memory = [memory_of(pid) for pid in _serving(process.pid, workers)]
    return {
        "start_s": round(start_s, 1),
        "pss_mib": [round(entry["Pss"]) for entry in memory],
        "own_mib": [round(entry["Private_Clean"]) + round(entry["Private_Dirty"]) for entry in memory],
    }


def _use(client: httpx.Client) -> None:
    """Ask each worker for lists: what is computed at first use is there then."""
    for number in range(REQUESTS):
        history = [{"item_id": f"item-{(number + 13 * step) % 10_000}", "action": "like"} for step in range(20)]
        # A connection of its own, so that workers take turns.
        answer = httpx.post(f"{client.base_url}/api/v1/recommend", json={"history": history, "k": 20}, timeout=60)
        answer.raise_for_status()


def _serving(parent: int, workers: int) -> list[int]:
    """Return the processes that serve: the children, or the only one."""
    if workers == 1:
        return [parent]
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()]


def _plot(figures: dict[str, Any]) -> bytes:
    """Return memory of a worker and time to start, by items, for one worker and for two."""
    sizes = [int(name.split()[0]) for name in figures]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for workers in map(str, WORKERS):
        found = [entry["workers"][workers] for entry in figures.values()]
        words = "one process" if workers == "1" else f"each of {workers} workers"
        left.plot(sizes, [max(entry["pss_mib"]) for entry in found], marker="o", label=words)
        right.plot(sizes, [entry["start_s"] for entry in found], marker="o", label=words)
    for panel, words in ((left, "MiB of a worker (PSS)"), (right, "seconds until all serve")):
        panel.set(xscale="log", xlabel="items", ylabel=words, ylim=(0, None))
        panel.legend(frameon=False)
        tidy(panel)
    return figure_png(figure)
