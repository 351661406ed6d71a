"""Bundles for benchmarks of serving: fitted once for each size and state of the code, and kept under ``.run``."""

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import lightgbm as lgb
import numpy as np

from benchmarks.recommend import fitted, made_up
from benchmarks.record import ROOT, commit
from features.contracts.profiles import Options
from serving.bundle_cache import BundleCache, LastGood
from tests.support.tiny_bundle import tiny_parts, write_parts
from training.bundle.bundle import Bundle
from training.bundle.manifest import manifest_digest
from training.bundle.offered import SPEC
from training.bundle.parts import Parts
from training.bundle.plan import RANKER, Plan, default_budgets
from training.bundle.ranker import Ranker
from training.bundle.read import open_bundle
from training.bundle.write import write_bundle
from training.config import RankerConfig
from training.data import Interactions

KEPT: Final = ROOT / ".run" / "bench-bundles"
LARGE_TREES: Final = {"lambdarank": 90, "binary": 120}
"""Of each of the fits that serve: what the defaults lead to on Online Retail, the most of the four data sets."""
RANKER_CONFIG: Final = RankerConfig()
LEARNT_FROM: Final = 300
NOISE: Final = 0.3
"""Share of labels that are wrong, so that trees grow to their full size."""
N_TREES: Final = 100
"""Of a made ranker."""


def bundle_of(n_items: int) -> Path:
    """Return the folder of a bundle fitted on `recommend.made_up` interactions; its items are "0", "1" and so on.

    Its ranker is then fitted anew, to the size of one on real data: on made-up tastes validation would stop it after a
    few trees, and lists would be cheaper than anywhere else.
    """
    small, large = KEPT / f"{n_items}-{_code()}" / "bundle", KEPT / f"{n_items}-{_code()}-large" / "bundle"
    if not (small / "manifest.json").exists():
        print(f"fitting a bundle of {n_items:,} items", flush=True)
        _write(small, fitted(made_up(n_items)))
    if not (large / "manifest.json").exists():
        opened = open_bundle(small, digest_of(small))
        _write(large, replace(opened.parts, ranker=_large_ranker(opened, made_up(n_items))))
    return large


def _write(folder: Path, parts: Parts) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    write_bundle(folder, parts, created_at=datetime.now(UTC), code_version=commit(), seed=0)


def _large_ranker(bundle: Bundle, interactions: Interactions) -> Ranker:
    """Return a ranker of `LARGE_TREES`, fitted to tell items of a user's group among what retrieval offers."""
    users = np.arange(LEARNT_FROM)
    profiles = interactions.profiles(users, 500)
    view, rows, labels = bundle.recommender.view(bundle.statistics), [], []
    rng = np.random.default_rng(0)
    for user in users.tolist():
        found, features = bundle.recommender.candidates(profiles, user, view, Options())
        rows.append(features)
        labels.append((found.items % 100 == user % 100) ^ (rng.random(len(found.items)) < NOISE))
    every, sizes = np.concatenate(rows), [len(some) for some in rows]
    models = []
    for seed in range(RANKER_CONFIG.fits):
        for objective, trees in LARGE_TREES.items():
            data = lgb.Dataset(every, np.concatenate(labels), group=sizes, feature_name=list(SPEC.names))
            settings = {
                "objective": objective,
                "num_leaves": RANKER_CONFIG.leaves,
                "feature_fraction": RANKER_CONFIG.feature_fraction,
                "num_threads": 2,
                "seed": seed,
                "verbosity": -1,
            }
            models.append(lgb.train(settings, data, trees))
    spreads = [float(np.std(model.predict(every, raw_score=True))) for model in models]
    return Ranker(tuple(models), tuple(1 / (RANKER_CONFIG.fits * spread) for spread in spreads))


def digest_of(bundle: Path) -> str:
    """Return the digest of a bundle."""
    return manifest_digest((bundle / "manifest.json").read_bytes())


def serve_from_disk(bundle: Path, cache: Path) -> str:
    """Leave a bundle as the last good one in a server's cache, as it does itself, and return its digest."""
    kept, digest = BundleCache(cache), digest_of(bundle)
    with kept.incoming() as incoming:
        shutil.copytree(bundle, incoming / "bundle")
        kept.install(incoming / "bundle", digest)
    kept.remember(LastGood("1", digest, "benchmark"))
    return digest


def _code() -> str:
    """Return what names the committed state of the code that fits and writes bundles."""
    command = ["git", "rev-parse", "HEAD:training", "HEAD:features"]
    trees = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    return "-".join(tree[:10] for tree in trees) or "no-git"


def write_made_bundle(folder: Path, seed: int, n_items: int = 2_000) -> str:
    """Write a bundle of items i0, i1 and so on in a second, and return its digest: random factors, a ranker of noise.

    It costs a request what a fitted one of its size does, and says nothing.
    """
    plan = Plan(default_budgets(), order_by=RANKER)
    return write_parts(folder, replace(tiny_parts(seed, n_items), ranker=_noise(seed), plan=plan), seed)


def _noise(seed: int) -> Ranker:
    rng = np.random.default_rng(seed)
    rows = rng.random((2_000, len(SPEC.names)), dtype=np.float32)
    labels = rows[:, 0] + rng.random(len(rows)) > 1
    settings = {"objective": "binary", "num_leaves": 31, "num_threads": 1, "seed": seed, "verbosity": -1}
    booster = lgb.train(settings, lgb.Dataset(rows, labels, feature_name=list(SPEC.names)), N_TREES)
    return Ranker((booster,), (1.0,))
