"""What a person reads of a version in MLflow: Markdown, made anew from what is recorded about it."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from training.bundle.registry import Registry, translated
from training.bundle.versions import TAG_APPROVAL, TAG_APPROVAL_REASON, TAG_GATE, TAG_RUN, RegisteredVersion
from training.diff.names import ARTIFACTS as DIFFS
from training.gate_record import TABLE as GATE_TABLE
from training.gating.table import worst_first
from training.plots import metric_title

LONGEST: Final = 4_900
"""MLflow takes descriptions up to 5,000 characters."""
_REASON: Final = 170
_SHORT_REASON: Final = 40
"""Characters of a rule's reason, and where the whole would be too long; the gate's own page has all of it."""
_METRICS: Final = ("ndcg@10", "recall@20", "hit_rate@10", "coverage@10")
_GAP: Final = "&emsp; | "
"""MLflow shows tables without any room between columns."""
_NOTE: Final = "mlflow.note.content"
WHAT_RUNS_ARE: Final = """One run for each training; runs below one are trials of its search for settings. A run names \
the snapshot that it saw (*Datasets*), what it took of the machine (*System metrics*), and holds among its artifacts a \
report, the gate's table and diffs against other versions."""
HOW_TO_PROMOTE: Final = """Bundles of the recommender, one version for each training run. Servers follow the alias \
`{alias}` and have a new version within seconds; the old one goes on serving where a new one cannot be opened.

* **Promote**: move the alias `{alias}` to a version here, or `python -m training promote VERSION`.
* **Roll back**: `python -m training rollback`, or move `{alias}` to the version of the alias `previous`.
* `challenger` is the newest version that the gate did not refuse.
* **Compare**: `python -m training diff {alias} challenger`; **make again**: `python -m training reproduce VERSION`.

Tags to search by: `gate`, `run`, `trained_until`, `spec_hash`, `ndcg_at_10`, `users`, `items`."""


@dataclass(frozen=True, slots=True)
class Told:
    """What MLflow knows of a version's run.

    Attributes
    ----------
    version
        The version with its tags.
    experiment, params, metrics
        Of the run.
    gate
        Rows of the gate's table by column; empty before the gate.
    diffs
        The numbers of each diff, by the path of its page.
    report
        Path of the report, None where there is none.
    """

    version: RegisteredVersion
    experiment: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    gate: Sequence[Mapping[str, Any]] = ()
    diffs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    report: str | None = None


def describe(registry: Registry, version: str, alias: str) -> str:
    """Return the description that a version, its run and the model have from now on; again changes nothing.

    To be called after a version was registered, and whenever its gate, a diff or a person's answer is new.

    Parameters
    ----------
    registry
        Where the version is.
    version
        Its number.
    alias
        The alias that servers follow.

    Raises
    ------
    UnavailableError
        If MLflow cannot be reached.
    """
    found = registry.version(version)
    client = MlflowClient(registry.tracking_uri, registry.tracking_uri)
    try:
        text = markdown(_told(client, found))
        client.update_model_version(registry.model_name, version, text)
        client.set_tag(found.run_id, _NOTE, text)
        client.set_experiment_tag(client.get_run(found.run_id).info.experiment_id, _NOTE, WHAT_RUNS_ARE)
        client.update_registered_model(registry.model_name, HOW_TO_PROMOTE.format(alias=alias))
    except (MlflowException, requests.RequestException) as error:
        raise translated(error, f"describing version {version} in MLflow at {registry.tracking_uri}") from error
    return text


def markdown(told: Told) -> str:
    """Return the description of a version, at most `LONGEST` characters: what decides first, the gate's table last."""
    first = [_headline(told), _diffs(told), _metrics(told), _data(told)]
    for longest in (_REASON, _SHORT_REASON):
        text = "\n\n".join(part for part in (*first, _gate(told, longest)) if part)
        if len(text) <= LONGEST:
            break
    return text[:LONGEST]


def _headline(told: Told) -> str:
    gate = told.version.tags.get(TAG_GATE)
    said = "not judged by the gate yet" if gate is None else f"gate: **{gate.replace('_', ' ')}**"
    return f"**Run `{told.version.tags.get(TAG_RUN, 'unknown')}`**, {said}{_answer(told.version)}\n\n{_links(told)}"


def _answer(version: RegisteredVersion) -> str:
    """Return what a person decided; who, and in which words, the tags tell to those who may know."""
    verdict = version.tags.get(TAG_APPROVAL)
    if verdict is None:
        return ""
    at = version.tags.get(f"{verdict}_at", "")[:16].replace("T", " ")
    return f"; **{verdict}** by a person at {at} UTC (tags `{verdict}_by`, `{TAG_APPROVAL_REASON}`)"


def _data(told: Told) -> str:
    params = told.params
    if "data_from" not in params:
        return ""
    counts = [f"{int(params[f'trained_{name}']):,} {name}" for name in ("interactions", "users", "items")]
    snapshot = f"{int(params['data_interactions']):,} interactions, snapshot `{params['data_sha256'][:12]}`"
    lines = [
        f"* Data from {params['data_from']} to {params['data_to']}: {snapshot}",
        f"* Fitted on what is before {params['trained_until']}: {', '.join(counts)}",
        f"* Lists are ordered by `{params['order_by']}`; code `{params['code_version']}`",
    ]
    return "\n".join(lines)


def _metrics(told: Told) -> str:
    judged = int(told.metrics.get("judged_users", 0))
    if not judged:
        return "Nobody could be judged in the window after the training data."
    rows = [
        [metric_title(name), _interval(told, name), _number(told.metrics.get(f"popularity/{_key(name)}"))]
        for name in _METRICS
        if _key(name) in told.metrics
    ]
    heads = [f"{judged:,} users, 95 % interval", "this version", "popularity"]
    return _table(heads, rows)


def _interval(told: Told, name: str) -> str:
    value, low, high = (told.metrics.get(f"{_key(name)}{side}") for side in ("", "_low", "_high"))
    if low is None or high is None or low == high:
        return _number(value)
    return f"{_number(value)} [{low:.4f}, {high:.4f}]"


def _gate(told: Told, longest: int) -> str:
    if not told.gate:
        return ""
    return _table(["gate", "verdict", "reason"], [_rule(rule, longest) for rule in worst_first(told.gate)])


def _rule(rule: Mapping[str, Any], longest: int) -> list[str]:
    """Return a rule's row; what stands in the version's way is bold."""
    told = [str(rule["rule"]), str(rule["verdict"])]
    if rule["outcome"] != "promoted":
        told = [f"**{cell}**" for cell in told]
    return [*told, _cut(str(rule["reason"]), longest)]


def _diffs(told: Told) -> str:
    rows = []
    for page, numbers in told.diffs.items():
        against = f"[version {numbers['first']}]({_link(told, page)})"
        ndcg = numbers["metrics"].get("ndcg@10")
        better = "cannot be told" if ndcg is None else f"{ndcg['mean']:+.4f} [{ndcg['low']:+.4f}, {ndcg['high']:+.4f}]"
        word = "" if ndcg is None else f" {ndcg['verdict']}"
        rows.append([against, better + word, f"{numbers['overlap@10']['mean']:.0%}"])
    return _table(["diff against", "NDCG@10 of this version", "lists shared"], rows) if rows else ""


def _links(told: Told) -> str:
    version = told.version.version
    pages = {"report": told.report, "gate's table": GATE_TABLE if told.gate else None}
    links = [f"[{name}]({_link(told, page)})" for name, page in pages.items() if page is not None]
    links.append(f"[run]({_link(told)})")
    how = f"promote: `python -m training promote {version}`, make again: `python -m training reproduce {version}`"
    return f"{', '.join(links)}; {how}"


def _link(told: Told, artifact: str | None = None) -> str:
    """Return a link within MLflow's pages: by whatever name a browser has reached them."""
    run = f"#/experiments/{told.experiment}/runs/{told.version.run_id}"
    return run if artifact is None else f"{run}/artifacts/{artifact}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [_GAP.join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in (heads, *rows)]
    lines.insert(1, " | ".join(["---"] * len(heads)))
    return "\n".join(f"| {line} |" for line in lines)


def _key(name: str) -> str:
    return name.replace("@", "_at_")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _told(client: MlflowClient, version: RegisteredVersion) -> Told:
    run = client.get_run(version.run_id)
    top = {file.path for file in client.list_artifacts(version.run_id)}

    def read(path: str) -> Any:
        with tempfile.TemporaryDirectory(prefix="marquee-") as folder:
            return json.loads(Path(client.download_artifacts(version.run_id, path, folder)).read_text(encoding="utf-8"))

    diffs = [file.path for file in client.list_artifacts(version.run_id, DIFFS)] if DIFFS in top else []
    table = read(GATE_TABLE) if GATE_TABLE in top else {"columns": [], "data": []}
    return Told(
        version=version,
        experiment=run.info.experiment_id,
        params=run.data.params,
        metrics=run.data.metrics,
        gate=[dict(zip(table["columns"], row, strict=True)) for row in table["data"]],
        diffs={path.replace(".json", ".html"): read(path) for path in sorted(diffs) if path.endswith(".json")},
        report="report/report.html" if "report" in top else None,
    )
