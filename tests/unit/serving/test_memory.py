"""What a server took for a version is free again, and given back, once another one is served."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import lightgbm as lgb
import numpy as np

from serving.bundle_slot import Outcome
from tests.support.processes import memory_of
from tests.support.serving_parts import bench
from tests.support.tiny_bundle import tiny_parts, write_parts
from training.bundle.offered import SPEC
from training.bundle.ranker import Ranker
from training.bundle.read import open_bundle

THREADS = 6
BLOCK = 32 << 10
MIB = 1 << 20


def written() -> float:
    """Return the memory that this process wrote to and has to itself, in MiB."""
    return memory_of()["Private_Dirty"]


def ranked_bundle(folder: Path) -> str:
    """Write a bundle with a small ranker, and return its digest."""
    rng = np.random.default_rng(0)
    rows = rng.random((100, len(SPEC.names)), dtype=np.float32)
    options = {"num_leaves": 4, "num_threads": 1, "verbosity": -1}
    booster = lgb.train(options, lgb.Dataset(rows, rng.random(len(rows)), feature_name=list(SPEC.names)), 2)
    return write_parts(folder, replace(tiny_parts(0, 30), ranker=Ranker((booster,), (1.0,))), 0)


def test_no_thread_keeps_what_it_took_to_open_a_bundle(tmp_path: Path) -> None:
    digest, together = ranked_bundle(tmp_path / "bundle"), Barrier(THREADS)

    def opened(number: int) -> int:
        together.wait(30)  # each in a thread of its own
        return open_bundle(tmp_path / "bundle", digest).manifest.n_items + number

    open_bundle(tmp_path / "bundle", digest)
    before = written()
    with ThreadPoolExecutor(THREADS) as threads:
        assert sum(threads.map(opened, range(THREADS))) == THREADS * 30 + sum(range(THREADS))
        assert written() - before < 5 * THREADS


def test_a_swap_gives_back_what_is_free_below_what_is_in_use(tmp_path: Path) -> None:
    async def inside() -> float:
        with bench(tmp_path) as served:
            served.registry.publish()
            blocks = [bytearray(b"x" * BLOCK) for _ in range(64 * MIB // BLOCK)]
            kept = blocks[-1]
            blocks.clear()
            before = written()
            assert (await served.parts.keeper.look()).outcome is Outcome.LOADED
            assert len(kept) == BLOCK
            return before - written()

    assert asyncio.run(inside()) > 32
