"""The README's tables of serving: speed, faults, soak."""

from typing import Any, Final

SAID: Final = {"as ever": "nothing odd"}


def serving(content: dict[str, Any]) -> str:
    """Return the table of the server's speed."""
    found = content["figures"]
    alone, workers = found["one_worker"], f"{found['workers']} worker" + "s" * (found["workers"] > 1)
    rows = ["| lists over HTTP | p50 | p99 | requests/s | |", "|---|---|---|---|---|"]
    ratio = f"{alone['to_bare_parts']} x its bare parts, {alone['to_bare_parts_in_turn']} x these in turn"
    rows.append(_load("one worker, one at a time, each computed", alone["alone"], ratio))
    rows.append(_load("the same users again, nothing changed", alone["unchanged_alone"], ""))
    for name, key in ((", each computed", "together"), (", the same users again", "unchanged_together")):
        load = found[key]
        rows.append(_load(f"{workers}, 16 connections{name}", load, f"{load['failed']:.0f} refused"))
    clicks = found["click_to_answer"]
    told = f"{clicks['probes']} clicks, {clicks['not_seen'] + clicks['refused']} lost"
    rows.append(
        f"| from 202 to an answer that knows the click | {clicks['p50_ms']} ms | {clicks['p99_ms']} ms | | {told} |"
    )
    return "\n".join([*rows, "", *_knee(found["knee"]), "", _sizes(found)])


def _load(name: str, load: dict[str, Any], note: str) -> str:
    return f"| {name} | {load['p50_ms']} ms | {load['p99_ms']} ms | {load['requests_per_s']:,.0f} | {note} |"


def _knee(steps: list[dict[str, Any]]) -> list[str]:
    """Return the table of what is offered beyond capacity, and what comes of it."""
    rows = [
        "| offered, times the capacity | lists in time/s | of the peak | p99 of lists | refused | p50, p99 of a 503 |"
    ]
    rows.append("|---|---|---|---|---|---|")
    for step in steps:
        refused = step["by_status"].get("503", 0) / step["requests"]
        quick = "" if step["refused"]["p50_ms"] is None else "{p50_ms}, {p99_ms} ms".format(**step["refused"])
        good = f"{step['goodput_per_s']} | {step['goodput_to_peak']} | {step['p99_ms']} ms"
        rows.append(f"| {step['times_capacity']} ({step['offered_per_s']}/s) | {good} | {refused:.0%} | {quick} |")
    return rows


def _sizes(found: dict[str, Any]) -> str:
    scale = "" if found["scale"] == 1 else f" (a trial at scale {found['scale']:g})"
    ranker = found["one_worker"]["ranker"]
    return (
        f"{found['items']:,} items, {found['users']:,} users, {found['interactions']:,} interactions{scale}; "
        f"a ranker of {ranker['trees']} trees in {ranker['models']} models, {ranker['leaves']} leaves each."
    )


def fault_matrix(content: dict[str, Any]) -> str:
    """Return the table of faults."""
    found = content["figures"]
    rows = ["| fault | lists that came | p99 | within the deadline + 20 ms | what they said | as ever after |"]
    rows.append("|---|---|---|---|---|---|")
    for name, one in found["faults"].items():
        share = f"{one['succeeded']:.2%}".replace(".00%", " %")
        in_time = f"{one['in_time']:.2%}".replace(".00%", " %")
        said = ", ".join(_word(word, count / one["requests"]) for word, count in one["said"].items())
        rows.append(
            f"| {name} | {share} of {one['requests']} | {one['p99_ms']} ms | {in_time} | {said} | "
            f"{one['normal_after_s']} s |"
        )
    said = f"{found['lists_per_s']:g} lists a second, deadline {found['deadline_ms']} ms; {busy(content)}."
    return "\n".join([*rows, "", said])


def busy(content: dict[str, Any]) -> str:
    """Return how busy the machine was: whoever waits for a core is late."""
    machine = content["machine"]
    return f"the {machine['cores']} cores had a load of {machine['load_before']}"


def _word(word: str, share: float) -> str:
    reason = word.removesuffix(", degraded")
    return f"{SAID[word]} ({share:.0%})" if word in SAID else f"`{reason}` ({share:.0%})"


def serving_soak(content: dict[str, Any]) -> str:
    """Return the table of the soak."""
    found = content["figures"]
    lists, events = found["lists"], found["events"]
    failed = sum(count for status, count in lists["by_status"].items() if status != "200")
    rows = [f"| | {found['minutes']:g} minutes, {found['workers']} worker(s) |", "|---|---|"]
    rows.append(f"| lists | {lists['requests']:,}, {failed} failed, {lists['degraded']} degraded |")
    rows.append(
        f"| meanwhile | {found['swaps']} promotions, {found['item_changes']:,} items, {events['requests']:,} events |"
    )
    for key, name in (("memory_mib", "memory of its own, MiB"), ("p50_ms", "p50, ms"), ("p99_ms", "p99, ms")):
        one = found[key]
        slope = f"{one['per_hour']:+.1f} an hour ({one['low']:+.1f} to {one['high']:+.1f})"
        rows.append(f"| {name} | {one['first']:.1f} at first, {one['last']:.1f} at last; {slope} |")
    return "\n".join(rows)


def serving_million(content: dict[str, Any]) -> str:
    """Return the table of lists from a million items."""
    found = content["figures"]
    alone, together = found["1_connections"], found["4_connections"]
    head = f"| items | index | recall of the exact best {found['best']} | one at a time: p50, p99 | four: p50, p99 |"
    index = f"{found['index']}, {found['width']} wide"
    took = " | ".join(f"{load['p50_ms']}, {load['p99_ms']} ms" for load in (alone, together))
    rows = [f"{head} start |", "|---|---|---|---|---|---|"]
    rows.append(f"| {found['items']:,} | {index} | {found['recall']} | {took} | {found['start_s']} s |")
    return "\n".join([*rows, "", f"One worker; {busy(content)}."])
