"""The gate's decision as people meet it: text, table, picture, one line for the next task; and lists timed."""

import json
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from tests.support.gate_evidence import evidence, skewed, with_candidate
from training.gate import decide
from training.gate_record import tags_of, write_decision
from training.gating.plot import plot_decision
from training.gating.results import Decision
from training.gating.rules_file import load_rules
from training.gating.table import COLUMNS, brief, table, text
from training.gating.timing import fastest_ms

RULES = load_rules().model_copy(update={"resamples": 200})


@pytest.fixture(scope="module")
def decision() -> Decision:
    """Return that of a version which shows few items and whose verdict takes more users."""
    ours, theirs = (values[:, 0] for values in skewed(np.random.default_rng(2), 500))
    return decide(with_candidate(evidence(ours, theirs, 0.1 * ours), shown_items=1), RULES, 0)


def told_of(decision: Decision) -> dict[str, object]:
    return {"version": "3", "champion": "2", **decision.to_json()}


def test_the_text_tells_what_stands_in_the_way_first_with_the_next_step(decision: Decision) -> None:
    lines = text(told_of(decision)).splitlines()
    assert lines[:2] == ["gate: version 3 against champion 2: NEEDS_HUMAN", "500 users judged"]
    assert lines[2].startswith("  ? champion         too few users  ndcg@10 0.1")
    assert any(line.strip().startswith("-> Set `window_users: ") for line in lines)
    assert max(map(len, lines)) <= 150
    rows = [line.split()[1] for line in lines if line.startswith("  ?")]
    assert rows == ["champion", "coverage"]


def test_a_warning_is_marked_though_it_stops_nothing(decision: Decision) -> None:
    rules = tuple(replace(rule, on_fail="warn") for rule in decision.rules)
    lines = text(told_of(Decision.of(decision.users, rules))).splitlines()
    assert lines[0].endswith(": PROMOTED")
    assert [line.split()[1] for line in lines if line.startswith("  !")] == ["champion", "coverage"]


def test_the_last_line_is_what_a_task_can_branch_on(decision: Decision) -> None:
    line = brief(told_of(decision))
    assert "\n" not in line
    told = json.loads(line)
    assert told["outcome"] == "needs_human"
    assert told["verdict"] == "too few users"
    assert told["needed"] > told["users"] == 500
    assert told["stopped_by"] == ["champion", "coverage"]


def test_the_table_has_a_row_a_rule_with_the_numbers(decision: Decision) -> None:
    found = table(decision.to_json()["rules"])
    assert found["columns"] == list(COLUMNS)
    rows = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in found["data"]}
    assert rows.keys() == RULES.rules.keys()
    champion = rows["champion"]
    assert champion["low"] < champion["difference"] < champion["high"]
    assert champion["line"] < 0 < champion["needed"]
    assert rows["size"]["low"] is None


def test_tags_tell_verdict_and_what_stopped_it(decision: Decision) -> None:
    assert tags_of(decision, "2") == {"gate_verdict": "too few users", "gate_stopped_by": "champion, coverage"}
    first = decide(evidence(np.full(200, 0.5), None, np.zeros(200)), RULES, 0)
    assert tags_of(first, None) == {"gate_verdict": "no champion", "gate_stopped_by": "nothing"}


def test_a_champion_that_cannot_be_read_is_not_told_to_be_none() -> None:
    unread = replace(evidence(np.full(200, 0.5), None, np.zeros(200)), why_no_champion="its files are gone")
    assert tags_of(decide(unread, RULES, 0), "2")["gate_verdict"] == "not compared"


def test_a_picture_is_drawn_with_and_without_users(decision: Decision) -> None:
    assert plot_decision(decision).startswith(b"\x89PNG")
    nobody = decide(evidence(np.empty(0), None, np.empty(0)), RULES, 0)
    assert plot_decision(nobody).startswith(b"\x89PNG")


def test_everything_is_written_beside_each_other(decision: Decision, tmp_path: Path) -> None:
    write_decision(tmp_path, decision, told_of(decision), RULES)
    assert {file.name for file in tmp_path.iterdir()} == {"decision.json", "decision.txt", "gate.png", "rules.json"}
    assert json.loads((tmp_path / "decision.json").read_text())["outcome"] == "needs_human"
    assert json.loads((tmp_path / "rules.json").read_text())["rules"]["champion"]["margin"] == 0.05


def test_the_fastest_try_counts_and_models_take_turns() -> None:
    asked: list[str] = []
    # Seconds that pass within each call, in the order of the calls: a slow try here and there.
    passed = iter([9, 2, 3, 1, 1, 2, 8, 7])
    now = count()
    clock = {"s": 0.0}

    def call(name: str) -> None:
        asked.append(name)
        clock["s"] += next(passed) / 1000

    def read() -> float:
        next(now)
        return clock["s"]

    models = [[lambda: call("a0"), lambda: call("a1")], [lambda: call("b0"), lambda: call("b1")]]
    took = fastest_ms(models, rounds=2, clock=read)
    assert asked == ["a0", "b0", "a1", "b1"] * 2
    assert took == pytest.approx([(1 + 3) / 2, (2 + 1) / 2])
