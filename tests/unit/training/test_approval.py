"""What a person is asked about a version, when, and how an answer is read."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from features.settings import Settings
from training.steps.approval import Question, question, read_answer
from training.steps.state import RunError, RunFolder, StepRecord

SETTINGS = Settings(database_url=SecretStr(""), mlflow_link="http://mlflow.example/")
RULES = [
    {"rule": "users", "verdict": "passed", "outcome": "promoted", "reason": "9 | more\nlines", "next": ""},
    {
        "rule": "champion",
        "verdict": "too few users",
        "outcome": "needs_human",
        "reason": "ndcg@10 -0.0010 against champion 6",
        "next": "wait for more users",
    },
]
PAGES = {"experiment": "5", "diff": "diff/6-7.html"}


def judged(work: Path, outcome: str, champion: str | None = "6") -> RunFolder:
    run = RunFolder(work, "r")
    run.path.mkdir(exist_ok=True)
    steps: dict[str, tuple[str, dict[str, object]]] = {
        "register": ("done", {"version": "7", "mlflow_run": "abc"}),
        "gate": (outcome, {"version": "7", "champion": champion, "rules": RULES, "users": 1234, **PAGES}),
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


def asked_of(work: Path, outcome: str, champion: str | None = "6") -> Question:
    found = question(judged(work, outcome, champion), SETTINGS, "always", promote=True)
    assert found is not None
    return found


def test_a_question_begins_with_why_it_is_asked_and_leads_to_all_that_tells(tmp_path: Path) -> None:
    asked = asked_of(tmp_path, "needs_human")
    assert asked.subject == "Promote version 7 of marquee? The gate leaves it to a person"
    assert "take the place of version 6" in asked.body
    assert "leaves it to a **person**, because of `champion`." in asked.body
    assert "* `champion`, **too few users**: ndcg@10 -0.0010 against champion 6. *wait for more users*" in asked.body
    assert "on 1,234 users judged" in asked.body
    assert "| users | passed | 9 \\| more lines |" in asked.body
    assert asked.body.index("| champion |") < asked.body.index("| users |"), "what is open comes first"
    run = "experiments/5/runs/abc"
    pages = ("models/marquee/versions/7", "models/marquee/versions/6", run, f"{run}/artifacts/diff/6-7.html")
    for link in (*pages, f"{run}/artifacts/report/report.html"):
        assert f"(http://mlflow.example/#/{link})" in asked.body


def test_a_question_about_a_version_that_the_gate_would_promote_says_so(tmp_path: Path) -> None:
    asked = asked_of(tmp_path, "promoted")
    assert asked.subject.endswith("The gate would promote it")
    assert "The gate would **promote** it" in asked.body
    assert "be the first to serve" in asked_of(tmp_path, "needs_human", None).body


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
