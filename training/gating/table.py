"""The decision for people: as text in a task's log, as a table in MLflow, as one line for the next task."""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

Outcome = Literal["promoted", "refused", "needs_human"]

COLUMNS: Final = ("rule", "verdict", "outcome", "reason", "next", "difference", "low", "high", "line", "needed")
_WIDTH: Final = 150
WORST_FIRST: Final[tuple[Outcome, ...]] = ("refused", "needs_human", "promoted")
COMPARED: Final = frozenset({"better", "not worse", "worse", "too few users"})
"""Verdicts of rules that hold users' values against the champion's."""


def text(decision: Mapping[str, Any]) -> str:
    """Return a decision, as the record of the step holds it, as lines of text: what stands in its way comes first."""
    rules = worst_first(decision["rules"])
    width = max(len(rule["rule"]) for rule in rules)
    lines = [line for rule in rules for line in _lines(rule, width)]
    against = f"champion {decision['champion']}" if decision.get("champion") else "no champion"
    head = f"gate: version {decision['version']} against {against}: {decision['outcome'].upper()}"
    return "\n".join([head, f"{decision['users']:,} users judged", *lines])


def worst_first(rules: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return rules, as the record of the step holds them, with what stands in the version's way before the others."""
    return sorted(rules, key=lambda rule: WORST_FIRST.index(rule["outcome"]))


def table(rules: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the rules as MLflow shows tables: columns and rows."""
    return {"columns": list(COLUMNS), "data": [[rule.get(column) for column in COLUMNS] for rule in rules]}


def brief(decision: Mapping[str, Any]) -> str:
    """Return a decision as one line of JSON: the last line of the task, which Airflow keeps as its XCom."""
    kept = ("outcome", "version", "champion", "verdict", "users", "needed")
    stopped = [rule["rule"] for rule in decision["rules"] if rule["outcome"] != "promoted"]
    return json.dumps({name: decision.get(name) for name in kept} | {"stopped_by": stopped})


def _lines(rule: Mapping[str, Any], width: int) -> Iterator[str]:
    """Yield a rule's row, wrapped, with the next step below it; a warning is marked, for it stops nothing."""
    warned = rule["outcome"] == "promoted" and rule["verdict"] in {"failed", "undecided", "too few users"}
    mark = {"refused": "x", "needs_human": "?"}.get(rule["outcome"], "!" if warned else " ")
    head = f"  {mark} {rule['rule']:<{width}}  {rule['verdict']:<13}  "
    yield from textwrap.wrap(rule["reason"], _WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    if rule["next"]:
        indent = " " * len(head) + "-> "
        yield from textwrap.wrap(rule["next"], _WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent))
