"""The README's tables of what moves between versions: rollbacks, and trainings whose scheduler is killed."""

import statistics
from typing import Any

from benchmarks.serving_tables import busy


def rollbacks(content: dict[str, Any]) -> str:
    """Return the table of rollbacks by each way."""
    found = content["figures"]
    rows = ["| asked for by | until all workers serve it: median | longest |", "|---|---|---|"]
    for way, took in found["served_after_s"].items():
        rows.append(f"| {way} | {statistics.median(took):.1f} s | {max(took):.1f} s of {len(took)} |")
    lists, first = found["lists"], found["airflow_s"][0]
    began = statistics.median(one["started"] for one in found["airflow_s"])
    said = (
        f"{lists['asked']:,} lists meanwhile, {lists['failed']} failed; Airflow began its task after {began:.1f} s, at "
        f"first after {first['started']:.1f} s; {busy(content)}."
    )
    return "\n".join([*rows, "", said])


def scheduler_kills(content: dict[str, Any]) -> str:
    """Return the table of what became of each task in whose middle the scheduler was killed."""
    runs = content["figures"]["runs"]
    rows = [f"| task | {' | '.join(f'killed: {name}' for name in runs)} |", f"|---|{'---|' * len(runs)}"]
    for task in next(iter(runs.values()))["tasks"]:
        cells = (_task(one["tasks"][task]) for one in runs.values())
        rows.append(f"| `{task}` | {' | '.join(cells)} |")
    ends = (
        f"{one['state']}, {one['versions']} version, {'which serves' if one['champion'] else 'which does not serve'}"
        for one in runs.values()
    )
    return "\n".join([*rows, f"| the run | {' | '.join(ends)} |", "", f"{busy(content).capitalize()}."])


def _task(one: dict[str, Any]) -> str:
    if one["killed_while"] != "running":
        return "not reached" if one["state"] == "upstream_failed" else f"was over ({one['state']})"
    return f"{one['state']} by try {one['tries']}, {one['ended_after_s']:.0f} s later"
