"""What a person is asked before a version is promoted, and what they answered."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

import msgspec

from features.settings import Settings
from training.bundle.versions import TAG_APPROVAL, TAG_APPROVAL_REASON, TAG_APPROVED_BY, TAG_REJECTED_BY
from training.gating.table import COMPARED, worst_first
from training.steps.state import RunError, RunFolder

When = Literal["gate", "always", "never"]
"""Whether a person is asked where the gate wants one; before every promotion; never."""

_MAX_TAG: Final = 4900
"""MLflow takes tags of model versions up to 5,000 characters."""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person answered.

    Attributes
    ----------
    answer
        The button that they pressed.
    by
        Who: "airflow:NAME", or "nobody" where their time ran out.
    at
        When, ISO 8601.
    reason
        Their words; may be empty.
    """

    answer: Literal["Approve", "Reject"]
    by: str
    at: str
    reason: str = ""

    @property
    def approves(self) -> bool:
        """Return whether the version may be promoted."""
        return self.answer == "Approve"

    def tags(self) -> dict[str, str]:
        """Return what the model version shows of it."""
        verdict, tag_by = ("approved", TAG_APPROVED_BY) if self.approves else ("rejected", TAG_REJECTED_BY)
        tags = {TAG_APPROVAL: verdict, tag_by: self.by, f"{verdict}_at": self.at}
        return tags | {TAG_APPROVAL_REASON: self.reason[:_MAX_TAG]} if self.reason else tags


class Question(msgspec.Struct, frozen=True):
    """What a person reads who has to decide: a headline, and a text in Markdown."""

    subject: str
    body: str


def read_answer(text: str) -> Answer | None:
    """Return an answer from its JSON, None where it is empty: nobody was asked.

    Raises
    ------
    RunError
        If it is something else.
    """
    if not text.strip():
        return None
    try:
        return msgspec.json.decode(text, type=Answer)
    except msgspec.DecodeError as error:
        raise RunError(
            f'--approval {text[:200]!r}: {error}; expected JSON such as {{"answer": "Approve", "by": "ana", '
            '"at": "2026-01-01T00:00:00Z", "reason": ""}'
        ) from error


def question(run: RunFolder, settings: Settings, when: str, *, promote: bool) -> Question | None:
    """Return what to ask about the version of a run, None where there is nothing to ask.

    A version that the gate refused is never asked about: promoting it is a decision of its own, made by hand.

    Parameters
    ----------
    when
        One of `When`.
    promote
        Whether the run may promote at all.

    Raises
    ------
    RunError
        If the gate has not decided yet, or `when` is none of its words.
    """
    if when not in get_args(When):
        raise RunError(f"--when {when!r}; expected one of {', '.join(get_args(When))}")
    gate = run.finished("gate")
    asks = {"gate": {"needs_human"}, "always": {"needs_human", "promoted"}, "never": set[str]()}
    if not promote or gate.outcome not in asks[when]:
        return None
    version, champion = str(gate.results["version"]), gate.results.get("champion")
    rules = worst_first(gate.results.get("rules", []))
    place = f"take the place of version {champion}" if champion else "be the first to serve"
    body = [
        f"Shall version **{version}** of `{settings.model_name}` {place}? {_said(gate.outcome, rules)}{_better(rules)}",
        _links(settings, gate.results, str(run.finished("register").results["mlflow_run"])),
        *_open_points(rules),
        (
            "**Answer** below, with a reason. **Approve**: servers have it within seconds, and `rollback_model` goes "
            f"back. **Reject**: nothing moves; `promote_model` with version {version} overrules that later. Without an "
            "answer nothing moves."
        ),
        f"**All {len(rules)} rules of the gate**, on {gate.results.get('users', 0):,} users judged:",
        _table(rules),
    ]
    says = "would promote it" if gate.outcome == "promoted" else "leaves it to a person"
    return Question(f"Promote version {version} of {settings.model_name}? The gate {says}", "\n\n".join(body))


def _said(outcome: str, rules: Sequence[Mapping[str, Any]]) -> str:
    """Return what the gate said, in words."""
    if outcome == "promoted":
        return "The gate would **promote** it; this run was started to ask in any case."
    asking = ", ".join(f"`{rule['rule']}`" for rule in rules if rule["outcome"] == outcome)
    return f"The gate leaves it to a **person**, because of {asking}."


def _better(rules: Sequence[Mapping[str, Any]]) -> str:
    """Return what was found against the champion; empty where nothing was, or where just that is open."""
    found = next((rule for rule in rules if rule["verdict"] in COMPARED), None)
    if found is None or found["outcome"] != "promoted":
        return ""
    return f" Against the champion it is **{found['verdict']}**: {found['reason']}."


def _open_points(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return why a person is asked, rule by rule, with what would settle it."""
    points = [rule for rule in rules if rule["outcome"] != "promoted"]
    lines = [f"* `{rule['rule']}`, **{rule['verdict']}**: {rule['reason']}{_next(rule)}" for rule in points]
    return ["**What is open**", "\n".join(lines)] if lines else []


def _next(rule: Mapping[str, Any]) -> str:
    return f". *{rule['next']}*" if rule.get("next") else ""


def _table(rules: Sequence[Mapping[str, Any]]) -> str:
    rows = [[str(rule.get(name, "")) for name in ("rule", "verdict", "reason")] for rule in rules]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [["rule", "verdict", "reason"], ["---"] * 3, *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _links(settings: Settings, gate: Mapping[str, Any], mlflow_run: str) -> str:
    """Return where to look before deciding, what tells most first."""
    base = str(settings.mlflow_link or settings.mlflow_tracking_uri).rstrip("/")
    model = f"{base}/#/models/{settings.model_name}/versions"
    run = f"{base}/#/experiments/{gate['experiment']}/runs/{mlflow_run}" if "experiment" in gate else ""
    champion, links = gate.get("champion"), []
    if run and gate.get("diff"):
        links.append(f"[lists of both beside each other]({run}/artifacts/{gate['diff']})")
    if run:
        links.append(f"[report]({run}/artifacts/report/report.html)")
    links.append(f"[version {gate['version']} in MLflow]({model}/{gate['version']})")
    if champion:
        links.append(f"[champion, version {champion}]({model}/{champion})")
    links.append(f"[its training run]({run or f'{base}/#/runs/{mlflow_run}'})")
    return f"**Look at**: {' · '.join(links)}"
