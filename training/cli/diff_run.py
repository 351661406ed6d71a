"""What ``python -m training diff`` does: compares, keeps the page in MLflow, prints what matters most."""

from pathlib import Path

from rich.console import Console

from features.cli.plain import plain_console
from features.settings import Settings
from training.bundle.registry import Registry
from training.cli.output import make_room
from training.diff.page import page_of
from training.diff.result import Diff
from training.diff.run import Asked, log_diff, make_diff, newest_data
from training.named_version import named_version
from training.publish import allow_long_requests
from training.report import render


def execute(settings: Settings, names: tuple[str, str], out: Path | None, *, users: int, seed: int) -> None:
    """Compare two versions and say where the page lies."""
    make_room(out, "--out")
    allow_long_requests()
    registry = Registry(str(settings.mlflow_tracking_uri), settings.model_name)
    pair = (named_version(registry, names[0]), named_version(registry, names[1]))
    console = Console(stderr=True)
    with console.status("diff") as status:

        def tell(what: str) -> None:
            status.update(what)
            if not console.is_terminal:
                console.print(what, highlight=False)

        with newest_data(settings, tell) as data:
            found = make_diff(registry, pair, data, Asked(users, seed), tell)
        tell("page")
        page = log_diff(registry, found)
    if out is not None:
        out.write_text(render(page_of(found)), encoding="utf-8")
    shown = plain_console()
    for line in _lines(found):
        shown.print(line, highlight=False, soft_wrap=True)
    shown.print(f"page: {page} of run {pair[1].run_id} in MLflow" + (f", and {out}" if out else ""), soft_wrap=True)


def _lines(diff: Diff) -> list[str]:
    every = diff.agreement[0]
    shared = f"{every.overlap.mean:.0%} of the first ten items shared, rank-biased overlap {every.rank_biased.mean:.2f}"
    lines = [f"{diff.sides[0].name} -> {diff.sides[1].name}: {shared}, {every.users} users"]
    if diff.verdicts.why_not:
        return [*lines, f"which is better: {diff.verdicts.why_not}"]
    for one in diff.verdicts.metrics:
        gap = one.difference
        lines.append(
            f"{one.name}: {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] on {one.users} users: {one.verdict}"
        )
    return lines
