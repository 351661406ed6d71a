"""What ``python -m training reproduce`` does: trains again, compares, prints, writes."""

from datetime import UTC, datetime
from typing import Final

import msgspec
from rich.table import Table
from rich.text import Text

from features.cli.plain import plain_console
from features.settings import Settings
from training.bundle.registry import Registry
from training.named_version import named_version
from training.reproducing import Reproduction, Verdict, reproduce
from training.steps.state import RunFolder, write_atomically

RESULT: Final = "reproduce.json"


def execute(settings: Settings, name: str, tolerance: float) -> Verdict:
    """Return whether a version came out the same, after printing what did and what did not."""
    registry = Registry(str(settings.mlflow_tracking_uri), settings.model_name)
    version = named_version(registry, name)
    found = reproduce(settings, version, now=datetime.now(UTC), tolerance=tolerance)
    folder = RunFolder(settings.work_dir, found.run).path
    write_atomically(folder / RESULT, msgspec.json.format(msgspec.json.encode(found.to_json())))
    console = plain_console()
    for note in found.notes:
        console.print(Text.assemble(("note", "yellow"), f": {note}"), soft_wrap=True)
    if found.files:
        console.print(_files(found))
    console.print(_metrics(found))
    said = (
        f"; {found.same} of {found.same + len(found.files)} files of the bundle are the same, byte for byte; "
        f"{found.erased_rows} rows taken out since; {folder / RESULT}"
    )
    console.print(Text.assemble(f"version {found.version}: ", (found.verdict, "bold"), said), soft_wrap=True)
    return found.verdict


def _files(found: Reproduction) -> Table:
    table = Table("file", "difference", "near", title="files that are not the same")
    for file in found.files:
        table.add_row(file.name, file.difference, "" if file.near is None else "yes" if file.near else "no")
    return table


def _metrics(found: Reproduction) -> Table:
    table = Table("metric", "recorded", "now", "may differ by", "")
    for metric in found.metrics:
        numbers = (f"{number:.6f}" for number in (metric.recorded, metric.now, metric.tolerance))
        table.add_row(metric.name, *numbers, "" if metric.holds else Text("differs", "red"))
    return table
