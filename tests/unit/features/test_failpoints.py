"""Failpoints: the list is what the code calls, they are off by default, and a misspelt one stops the process."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from features.failpoints import ACTIONS, FAILPOINTS, VARIABLE, FailpointError, parse

ROOT = Path(__file__).resolve().parents[3]


def called() -> list[str]:
    """Return the names with which the code calls `failpoint`."""
    calls = (
        node
        for package in ("features", "training")
        for file in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint"
    )
    return [ast.literal_eval(call.args[0]) for call in calls]


def run(code: str, armed: str | None) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment |= {} if armed is None else {VARIABLE: armed}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_list_of_failpoints_is_what_the_code_calls_each_once() -> None:
    assert sorted(called()) == sorted(FAILPOINTS)


def test_failpoints_are_off_by_default() -> None:
    passes = "; ".join(f"failpoint({name!r})" for name in FAILPOINTS)

    done = run(f"from features.failpoints import failpoint; {passes}; print('alive')", armed=None)

    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_an_armed_failpoint_acts_at_its_passage_only() -> None:
    code = (
        "from features.failpoints import failpoint\nfor n in range(5): print(n, flush=True); failpoint('after_write')"
    )

    done = run(code, armed="after_write=kill@3")

    assert (done.returncode, done.stdout) == (-9, "0\n1\n2\n")


@pytest.mark.parametrize("wrong", ["after_lunch=kill", "after_write=explode", "after_write", "after_write=kill@soon"])
def test_what_does_not_exist_is_refused_at_the_start(wrong: str) -> None:
    with pytest.raises(FailpointError, match="expected NAME=ACTION"):
        parse(wrong)

    settings = {"MARQUEE_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", VARIABLE: wrong}
    command = [sys.executable, "-m", "features", "land"]
    done = subprocess.run(
        command, env={**os.environ, **settings}, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 2
    assert wrong in done.stderr


def test_actions_are_to_die_to_freeze_and_to_fail() -> None:
    assert set(ACTIONS) == {"kill", "stop", "unavailable"}
