"""The README's tables of figures, written between markers from the committed JSON; a test holds them equal."""

import re
from typing import Any, Final

from benchmarks.record import ROOT, read

README: Final = ROOT / "README.md"
METHODS: Final = ("marquee", "popularity", "recent popularity (1 day)", "ALS", "item to item", "EASE")


def tables() -> dict[str, str]:
    """Return each table as Markdown, by the name of its marker; only of benchmarks that have run."""
    made = {"quality": _quality, "recommend": _recommend, "landing": _landing}
    found = {name: read(name) for name in made}
    return {name: make(found[name]) for name, make in made.items() if found[name] is not None}  # type: ignore[arg-type]


def filled(text: str) -> str:
    """Return a page with the content between each pair of markers replaced by its table."""
    for name, table in tables().items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        text = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL)  # noqa: B023
    return text


def write_tables() -> None:
    """Write the tables into the README."""
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")


def _quality(content: dict[str, Any]) -> str:
    rows = ["| NDCG@10 | " + " | ".join(METHODS) + " |", "|---|" + "---|" * len(METHODS)]
    for name, found in content["figures"].items():
        cells = [_cell(found["methods"][method]["ndcg@10"], bold=method == "marquee") for method in METHODS]
        rows.append(f"| {name} ({found['users']} users) | " + " | ".join(cells) + " |")
    return "\n".join([*rows, "", _origin(content)])


def _cell(estimate: dict[str, float], *, bold: bool) -> str:
    text = f"{estimate['mean']:.3f}"
    return f"**{text}** ({estimate['low']:.3f} to {estimate['high']:.3f})" if bold else text


def _recommend(content: dict[str, Any]) -> str:
    rows = ["| catalogue | one user, p50 | p99 | batches of 100, one core |", "|---|---|---|---|"]
    for name, found in content["figures"].items():
        speed = f"{found['p50_ms']} ms | {found['p99_ms']} ms | {found['batch_users_per_s']} users/s"
        rows.append(f"| {name} | {speed} |")
    return "\n".join([*rows, "", _origin(content)])


def _landing(content: dict[str, Any]) -> str:
    rows = ["| | events/s |", "|---|---|"]
    rows += [f"| {name} | {rate:,} |" for name, rate in content["figures"]["events_per_s"].items()]
    return "\n".join([*rows, "", _origin(content)])


def _origin(content: dict[str, Any]) -> str:
    machine = content["machine"]
    return (
        f"Measured {content['measured_at'][:10]} at commit {content['commit']} on {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB."
    )


if __name__ == "__main__":
    write_tables()
