"""The README's tables of figures, written between markers from the committed JSON; a test holds them equal."""

import re
from collections.abc import Callable
from typing import Any, Final

from benchmarks import moves_tables, serving_tables
from benchmarks.cold import OLD, WITHOUT
from benchmarks.features_page import write_page
from benchmarks.record import ROOT, read
from features.text import svd
from training.evaluation.methods import SERVED
from training.steps.state import STEPS

README: Final = ROOT / "README.md"
METHODS: Final = ("marquee", "popularity", "recent popularity (1 day)", "ALS", "item to item", "EASE")

PARTS: Final = ("light users", "heavy users", "head items", "tail items", "new users after 1 event", "after 5 events")
_FILES: Final = {"quality_parts": "quality"}
"""Tables that are made from another benchmark's file than their own name says."""


def tables() -> dict[str, str]:
    """Return each table as Markdown, by the name of its marker; only of benchmarks that have run."""
    made = {
        "quality": _quality,
        "quality_parts": _quality_parts,
        "cold": _cold,
        "embedding": _embedding,
        "recommend": _recommend,
        "landing": _landing,
        "landing_curves": _landing_curves,
        "front_door": _front_door,
        "bulk": _bulk,
        "soak": _soak,
        "training": _training,
        "serving_memory": _serving_memory,
        "serving": _with_origin(serving_tables.serving),
        "fault_matrix": _with_origin(serving_tables.fault_matrix),
        "serving_soak": _with_origin(serving_tables.serving_soak),
        "serving_million": _with_origin(serving_tables.serving_million),
        "rollbacks": _with_origin(moves_tables.rollbacks),
        "scheduler_kills": _with_origin(moves_tables.scheduler_kills),
    }
    found = {name: read(_FILES.get(name, name)) for name in made}
    return {name: make(found[name]) for name, make in made.items() if found[name] is not None}  # type: ignore[arg-type]


def filled(text: str) -> str:
    """Return a page with the content between each pair of markers replaced by its table."""
    for name, table in tables().items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        text = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL)  # noqa: B023
    return text


def write_tables() -> None:
    """Write the tables into the README, and the page of features."""
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
    write_page()


def _with_origin(make: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], str]:
    return lambda content: f"{make(content)}\n{_origin(content)}"


def _quality(content: dict[str, Any]) -> str:
    rows = ["| NDCG@10 | " + " | ".join(METHODS) + " |", "|---|" + "---|" * len(METHODS)]
    for name, found in content["figures"].items():
        cells = [_cell(found["methods"][method]["ndcg@10"], bold=method == "marquee") for method in METHODS]
        where = "" if found.get("commit", content["commit"]) == content["commit"] else f", at {found['commit']}"
        rows.append(f"| {name} ({found['users']} users{where}) | " + " | ".join(cells) + " |")
    return "\n".join([*rows, "", _origin(content)])


def _quality_parts(content: dict[str, Any]) -> str:
    rows = ["| NDCG@10, in brackets popularity | " + " | ".join(PARTS) + " |", "|---|" + "---|" * len(PARTS)]
    for name, found in content["figures"].items():
        segments, newcomers = found.get("segments", {}), found.get("newcomers", {"stages": []})
        by_events = {stage["events"]: stage["methods"] for stage in newcomers["stages"]}
        parts = [part["methods"] for kind in ("users", "items") for part in segments.get(kind, [])]
        parts += [None] * (4 - len(parts)) + [by_events.get(1), by_events.get(5)]
        rows.append(f"| {name} | " + " | ".join(_beside_popularity(part) for part in parts) + " |")
    return "\n".join([*rows, "", _origin(content)])


def _cold(content: dict[str, Any]) -> str:
    ways = ("without", "with texts", "gain", "old items only", "new items alone", "nearest texts", "newest", "chance")
    rows = ["| NDCG@10, a fifth of the items new | " + " | ".join(ways) + " |", "|---|" + "---|" * len(ways)]
    for name, found in content["figures"].items():
        for kind, said in found["encoders"].items():
            told = f"({found['users']} users, at {found['commit']})" if kind == svd.KIND else "by MiniLM"
            rows.append(f"| {name} {told} | {_cold_cells(found['ndcg@10'], kind, said)} |")
    return "\n".join([*rows, "", _origin(content)])


def _cold_cells(ndcg: dict[str, Any], kind: str, said: dict[str, Any]) -> str:
    among = said["among_new_items"]["events"]["all"]
    gain = "{mean:+.4f} ({low:+.4f} to {high:+.4f})".format(**ndcg[f"gain, {kind}"])
    old = ", then ".join(f"{ndcg[f'{OLD}, {way}']['mean']:.3f}" for way in (WITHOUT, kind))
    lists = [f"{ndcg[way]['mean']:.3f}" for way in (WITHOUT, kind)]
    alone = [f"{among[way]['mean']:.3f}" for way in (SERVED, "nearest texts", "newest", "at random")]
    return " | ".join([*lists, gain, old, *alone])


def _embedding(content: dict[str, Any]) -> str:
    figures = content["figures"]
    rows = ["| | measured |", "|---|---|"]
    rows += [f"| {name.replace('_', ' ')} | {_flat(value)} |" for name, value in figures.items()]
    return "\n".join([*rows, "", _origin(content)])


def _flat(value: Any) -> str:
    """Return a figure, or several as words."""
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_flat(entry)}" for name, entry in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _beside_popularity(methods: dict[str, Any] | None) -> str:
    if methods is None:
        return ""
    ours, theirs = (methods[method]["ndcg@10"]["mean"] for method in ("marquee", "popularity"))
    return f"{ours:.3f} ({theirs:.3f})"


def _cell(estimate: dict[str, float], *, bold: bool) -> str:
    text = f"{estimate['mean']:.3f}"
    return f"**{text}** ({estimate['low']:.3f} to {estimate['high']:.3f})" if bold else text


def _recommend(content: dict[str, Any]) -> str:
    rows = [
        "| catalogue | trees of the ranker | one user, p50 | p99 | batches of 100, one core |",
        "|---|---|---|---|---|",
    ]
    for name, found in content["figures"].items():
        speed = f"{found['p50_ms']} ms | {found['p99_ms']} ms | {found['batch_users_per_s']} users/s"
        rows.append(f"| {name} | {found.get('trees', 'not recorded')} | {speed} |")
    return "\n".join([*rows, "", _origin(content)])


def _landing(content: dict[str, Any]) -> str:
    figures, ratios = content["figures"], content["figures"]["ratios"]
    compared = {
        "new": f"{ratios['of the bare parts']} of the bare parts",
        "duplicates_only": f"{ratios['duplicates to new']} of new events",
        "bad_5_percent": f"{ratios['5 % bad to new']} of new events",
    }
    names = {
        "new": f"{figures['events']:,} new events",
        "duplicates_only": "a replay: duplicates only",
        "bad_5_percent": "5 % bad events",
    }
    rows = ["| topic to committed rows | events/s | against | memory, first and second half |", "|---|---|---|---|"]
    for key, name in names.items():
        found = figures[key]
        memory = f"{found['memory_first_half_mib']} and {found['memory_second_half_mib']} MiB"
        rows.append(f"| {name} | {found['events_per_s']:,} | {compared[key]} | {memory} |")
    parts = ", ".join(f"{name} {rate:,}" for name, rate in figures["bare_parts_events_per_s"].items())
    together = f"{figures['bare_parts_one_after_the_other_events_per_s']:,}"
    return "\n".join([*rows, "", f"Bare parts, events/s: {parts}; one after the other {together}.", _origin(content)])


def _landing_curves(content: dict[str, Any]) -> str:
    figures = content["figures"]
    sizes, rates = zip(*figures["by_rows_in_table"].items(), strict=True)
    head = " | ".join(f"{int(size) // 10**6} M" for size in sizes)
    rows = [f"| rows in the table before | {head} |", "|---|" + "---|" * len(sizes)]
    rows.append("| events/s | " + " | ".join(f"{rate:,}" for rate in rates) + " |")
    return "\n".join([*rows, "", f"Largest to empty: {figures['largest_to_empty']}. {_origin(content)}"])


def _front_door(content: dict[str, Any]) -> str:
    rows = ["| | connections | events/s | p50 | p99 | requests/s of a bare echo |", "|---|---|---|---|---|---|"]
    for found, echo in zip(content["figures"]["events"], content["figures"]["echo"], strict=True):
        size = found["events_a_request"]
        speed = f"{found['events_per_s']:,} | {found['p50_ms']} ms | {found['p99_ms']} ms"
        name = "single events" if size == 1 else f"batches of {size}"
        rows.append(f"| {name} | {found['connections']} | {speed} | {echo['requests_per_s']:,.0f} |")
    return "\n".join([*rows, "", _origin(content)])


def _bulk(content: dict[str, Any]) -> str:
    figures = content["figures"]
    rows = [f"| {figures['rows']:,} rows | rows/s | peak memory |", "|---|---|---|"]
    rows += [
        f"| {name} | {found['rows_per_s']:,} | {found['peak_mib']} MiB |" for name, found in figures["runs"].items()
    ]
    return "\n".join([*rows, "", _origin(content)])


def _soak(content: dict[str, Any]) -> str:
    found = content["figures"]
    recovery, dead = found["recovery_s"], found["counters"]["dead"]
    kills = f"{found['kills']} kills, at {len(found['failpoints_killed_at'])} steps of the protocol and at random"
    read = sum(found["counters"].values())
    repeats = f"{read:,} messages, {found['counters']['duplicate']:,} of them duplicates"
    late = f"{found['late_commits_refused_by_the_fence']} late commits refused"
    promises = {
        "no event lost": f"lost {found['lost']} of {found['ids']:,} ids in {kills}",
        "no event twice": f"{found['duplicate_rows']} double, {found['unexpected_rows']} unexpected rows of {repeats}",
        "bad events": f"{dead:,} dead letters, {found['dead_letters_lost_or_unexpected']} missing or unexpected",
        "zombies": f"{found['freezes']} frozen until others had their partitions, then woken: {late}, "
        f"{found['stale_commits_accepted']} accepted",
        "landing goes on by itself": f"after {recovery['p50']} s (median), {recovery['max']} s at most",
    }
    rows = [f"| promise | {found['minutes']:g} minutes, {found['faults']} faults |", "|---|---|"]
    rows += [f"| {promise} | {figure} |" for promise, figure in promises.items()]
    return "\n".join([*rows, "", f"Seed {found['seed']}. {_origin(content)}"])


def _training(content: dict[str, Any]) -> str:
    steps = [step for step in STEPS if all(step in found["steps"] for found in content["figures"].values())]
    head = " | ".join(steps)
    rows = [
        f"| interactions | users, items | {head} | together | peak memory |",
        "|---|---|" + "---|" * (len(steps) + 2),
    ]
    for size, found in content["figures"].items():
        data = found["data"]
        seconds = " | ".join(f"{found['steps'][step]['seconds']:.0f} s" for step in steps)
        together = f"{found['seconds'] / 60:.1f} min | {found['peak_mib'] / 1024:.1f} GiB"
        where = "" if found["commit"] == content["commit"] else f" (at {found['commit']})"
        rows.append(f"| {int(size):,}{where} | {data['users']:,}, {data['items']:,} | {seconds} | {together} |")
    return "\n".join([*rows, "", _origin(content)])


def _serving_memory(content: dict[str, Any]) -> str:
    rows = [
        "| items | bundle | one process: memory, start | two workers: memory of each (its own alone), start |",
        "|---|---|---|---|",
    ]
    for size, found in content["figures"].items():
        one, two = found["workers"]["1"], found["workers"]["2"]
        alone = f"{one['pss_mib'][0]} MiB, {one['start_s']} s"
        each = f"{max(two['pss_mib'])} MiB ({max(two['own_mib'])} MiB), {two['start_s']} s"
        rows.append(f"| {int(size.split()[0]):,} | {found['bundle_mib']} MiB | {alone} | {each} |")
    return "\n".join([*rows, "", _origin(content)])


def _origin(content: dict[str, Any]) -> str:
    machine = content["machine"]
    return (
        f"Measured {content['measured_at'][:10]} at commit {content['commit']} on {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB."
    )


if __name__ == "__main__":
    write_tables()
