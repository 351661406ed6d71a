"""What a person is asked about a version, when, and how an answer is read."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from features.settings import Settings
from training.steps.approval import question, read_answer
from training.steps.state import RunError, RunFolder, StepRecord

SETTINGS = Settings(database_url=SecretStr(""), mlflow_link="http://mlflow.example/")
RULES = [{"rule": "users", "verdict": "passed", "reason": "9 | more\nlines"}]


def judged(work: Path, outcome: str, champion: str | None = "6") -> RunFolder:
    run = RunFolder(work, "r")
    run.path.mkdir(exist_ok=True)
    steps: dict[str, tuple[str, dict[str, object]]] = {
        "register": ("done", {"version": "7", "mlflow_run": "abc"}),
        "gate": (outcome, {"version": "7", "champion": champion, "rules": RULES}),
    }
    for name, (came_to, results) in steps.items():
        run.finish(StepRecord(name, came_to, "", "2026-01-01T00:00:00+00:00", 1.0, results))
    return run


@pytest.mark.parametrize(
    ("outcome", "asked_when"),
    [("needs_human", {"gate", "always"}), ("promoted", {"always"}), ("refused", set())],
)
def test_a_person_is_asked_where_gate_or_form_want_one_and_never_about_a_refusal(
    tmp_path: Path, outcome: str, asked_when: set[str]
) -> None:
    run = judged(tmp_path, outcome)
    found = {when for when in ("gate", "always", "never") if question(run, SETTINGS, when, promote=True) is not None}
    assert found == asked_when
    assert all(question(run, SETTINGS, when, promote=False) is None for when in ("gate", "always", "never"))
    with pytest.raises(RunError, match="expected one of gate, always, never"):
        question(run, SETTINGS, "sometimes", promote=True)


def test_a_question_shows_the_gates_table_and_leads_to_both_versions(tmp_path: Path) -> None:
    asked = question(judged(tmp_path, "needs_human"), SETTINGS, "gate", promote=True)
    assert asked is not None
    assert asked.subject == "Promote version 7 of marquee? (needs_human)"
    assert "take the place of version 6" in asked.body
    assert "| users | passed | 9 \\| more lines |" in asked.body
    for link in ("models/marquee/versions/7", "models/marquee/versions/6", "runs/abc"):
        assert f"(http://mlflow.example/#/{link})" in asked.body
    first = question(judged(tmp_path, "needs_human", None), SETTINGS, "gate", promote=True)
    assert first is not None
    assert "be the first to serve" in first.body


def test_an_answer_is_read_or_refused() -> None:
    said = {"answer": "Approve", "by": "airflow:ana", "at": "2026-01-01 00:00:00+00:00", "reason": "x" * 9000}
    answer = read_answer(json.dumps(said))
    assert answer is not None
    assert answer.approves
    tags = answer.tags()
    assert (tags["approval"], tags["approved_by"], tags["approved_at"]) == ("approved", said["by"], said["at"])
    assert len(tags["approval_reason"]) <= 5000
    rejected = read_answer(json.dumps({**said, "answer": "Reject", "reason": ""}))
    assert rejected is not None
    tags = rejected.tags()
    assert (tags["approval"], tags["rejected_by"], tags["rejected_at"]) == ("rejected", said["by"], said["at"])
    assert "approved_by" not in tags
    assert "approval_reason" not in rejected.tags()
    assert read_answer(" ") is None
    for wrong in ("yes", '{"answer": "Maybe", "by": "a", "at": "b"}', json.dumps({**said, "more": 1})):
        with pytest.raises(RunError, match="expected JSON such as"):
            read_answer(wrong)
