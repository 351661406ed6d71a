"""A run whose bundle is whole and worthless: what a gate has to refuse."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import numpy as np

from training.als import gram_of
from training.bundle.foldin import FoldIn
from training.bundle.read import open_bundle
from training.bundle.write import write_bundle
from training.index import build_index
from training.steps.state import RunFolder


def copy_with_random_factors(good: RunFolder, bad: RunFolder) -> None:
    """Copy a run up to its bundle, and put one in its place that orders by factors which mean nothing."""
    bad.path.mkdir()
    for name in ("snapshot", "retrieval"):
        shutil.copytree(good.path / name, bad.path / name)
    for name in ("options", "snapshot", "retrieval"):
        shutil.copy(good.path / f"{name}.json", bad.path)
    parts = open_bundle(good.path / "bundle", str(good.finished("ranker").results["digest"])).parts
    factors = np.random.default_rng(0).standard_normal(parts.fold_in.factors.shape).astype(np.float32)
    index, index_info = build_index(factors, factors[:100])
    noise = replace(
        parts,
        fold_in=FoldIn(factors, gram_of(factors, 1.0), parts.fold_in.alpha),
        index=index,
        index_info=index_info,
        ranker=None,
        plan=msgspec.structs.replace(parts.plan, order_by="als"),
    )
    digest = write_bundle(bad.path / "bundle", noise, created_at=datetime.now(UTC), code_version="bad", seed=0)
    record = good.finished("ranker")
    bad.finish(msgspec.structs.replace(record, results=record.results | {"digest": digest, "order_by": "als"}))
