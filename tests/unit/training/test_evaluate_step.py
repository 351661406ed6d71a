"""A judging window in which nobody can be judged: the run goes on to the gate, which asks a person."""

from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from features.contracts.ids import IdMap
from features.contracts.statistics import DAY_US
from tests.support.tiny_bundle import CLOSED_AT_US, write_tiny_bundle
from training.bundle.read import open_bundle
from training.data import Interactions
from training.publish import metric_key
from training.ranker import UNLEARNED
from training.steps import evaluate, register


def test_where_nobody_can_be_judged_no_metric_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = write_tiny_bundle(tmp_path / "bundle", n_items=30)
    bundle, start_us = open_bundle(tmp_path / "bundle", digest), CLOSED_AT_US - DAY_US
    rng = np.random.default_rng(0)
    at_us = np.sort(CLOSED_AT_US - rng.integers(1, 100 * DAY_US, size=2000))
    user = np.where(at_us < start_us, rng.integers(0, 100, 2000), 100 + rng.integers(0, 20, 2000)).astype(np.int32)
    item = rng.integers(0, 30, 2000).astype(np.int32)
    users = IdMap([f"u{number}" for number in range(120)])
    visits = Interactions(users, bundle.items, user, item, np.ones(2000, np.float32), at_us, at_us)
    config = SimpleNamespace(exclude_seen=True, seed=0)
    monkeypatch.setattr(
        evaluate, "read_inputs", lambda _: SimpleNamespace(interactions=visits, config=config, items_file=None)
    )
    monkeypatch.setattr(evaluate, "read_bundle", lambda _: bundle)
    monkeypatch.setattr(evaluate, "trained_until_us", lambda _: start_us)
    step = SimpleNamespace(summary="", results={"groups": 0})
    run = SimpleNamespace(path=tmp_path, run="r", finished=lambda _: step)

    done = evaluate.run(SimpleNamespace(run=run))  # type: ignore[arg-type]  # as far as it is read

    assert done.summary == evaluate.NOBODY
    (page,) = tmp_path.rglob("report.html")
    assert msgspec.json.decode((page.parent / "metrics.json").read_bytes())["users"] == 0
    assert UNLEARNED in page.read_text(encoding="utf-8"), "no list taught a ranker, none was beaten by another order"
    metrics = msgspec.json.decode(msgspec.json.encode(done.results))["metrics"]
    assert metrics["judged_users"] == 0
    assert None not in metrics.values()
    tags = register._tags(bundle, "2026-01-01", metrics)  # once the next step failed here
    assert metric_key("ndcg@10") not in tags
