"""A version's description tells what is recorded, stays within what MLflow takes, and leaves out what is not there."""

from dataclasses import replace

from training.bundle.versions import RegisteredVersion
from training.describing import LONGEST, Told, markdown

PARAMS = {
    "data_from": "2026-01-01",
    "data_to": "2026-03-01",
    "data_interactions": "12345",
    "data_sha256": "ab" * 32,
    "trained_until": "2026-02-20",
    "trained_interactions": "10000",
    "trained_users": "200",
    "trained_items": "50",
    "order_by": "ranker",
    "code_version": "0.1.0+gabc",
}
METRICS = {
    "judged_users": 237.0,
    "ndcg_at_10": 0.4206,
    "ndcg_at_10_low": 0.4,
    "ndcg_at_10_high": 0.44,
    "popularity/ndcg_at_10": 0.06,
}


def told(gate: int = 0, reason: str = "enough | of them") -> Told:
    version = RegisteredVersion("3", "digest", "0123", {"run": "nightly-3", "gate": "promoted"})
    passed = {"verdict": "passed", "outcome": "promoted", "reason": reason}
    rules = [{"rule": f"rule {number}", **passed} for number in range(gate)]
    return Told(version, "1", PARAMS, METRICS, rules)


def test_data_metrics_and_gate_are_told() -> None:
    text = markdown(told(gate=1))
    assert text.startswith("**Run `nightly-3`**, gate: **promoted**")
    assert "12,345 interactions, snapshot `abababababab`" in text
    assert "| NDCG@10&emsp; | 0.4206 [0.4000, 0.4400]&emsp; | 0.0600 |" in text
    assert r"| rule 0&emsp; | passed&emsp; | enough \| of them |" in text
    assert "python -m training reproduce 3" in text
    assert "[gate's table](#/experiments/1/runs/0123/artifacts/gate.json)" in text
    order = [text.index(word) for word in ("reproduce 3", "NDCG@10", "12,345 interactions", "rule 0")]
    assert order == sorted(order), "what decides stands first"


def test_what_stands_in_the_way_comes_first_and_is_marked() -> None:
    known = told(gate=2)
    leak = {"rule": "leak", "verdict": "failed", "outcome": "refused", "reason": "learned too much"}
    text = markdown(replace(known, gate=[*known.gate, leak]))
    assert text.index("| **leak**&emsp; | **failed**&emsp; | learned too much |") < text.index("| rule 0")


def test_what_a_person_answered_is_told_and_not_who() -> None:
    known = told(gate=1)
    answer = {"approval": "rejected", "rejected_by": "airflow:ana", "rejected_at": "2026-01-01T10:11:12Z"}
    version = replace(known.version, tags={**known.version.tags, **answer})
    text = markdown(replace(known, version=version))
    assert "gate: **promoted**; **rejected** by a person at 2026-01-01 10:11 UTC (tags `rejected_by`" in text
    assert "ana" not in text


def test_long_reasons_are_cut_to_what_mlflow_takes() -> None:
    text = markdown(told(gate=30, reason="so many words " * 40))
    assert len(text) <= LONGEST
    assert "rule 29" in text
    assert "python -m training promote 3" in text


def test_a_run_that_recorded_nothing_is_described_by_its_name() -> None:
    text = markdown(Told(RegisteredVersion("1", "digest", "0123", {}), "1", {}, {}))
    assert "not judged by the gate yet" in text
    assert "Nobody could be judged" in text
