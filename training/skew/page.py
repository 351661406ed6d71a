"""The page about one check of the serving path."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from training.report import Grid, Picture, Report, Section, Tile
from training.skew.parity import FeatureParity
from training.skew.plots import SHOWN, plot_distributions, plot_shifts
from training.skew.result import Result

_PARITY: Final = (
    "Each list is made again by the code that makes training rows: interactions as they stood at its moment, item "
    "statistics replayed to its bucket edge, the version's own retrieval and features. Values must be the same to the "
    "bit."
)
_DRIFT: Final = (
    "Population stability index of served rows, of all candidates that somebody had met, against the rows that the "
    "ranker was validated on. Grey: the ranker hardly reads the column, so that it decides nothing."
)


def page_of(result: Result) -> Report:
    """Return what the page shows."""
    parity, drift = result.parity, result.drift
    score = drift.score()
    return Report(
        title=f"Serving path of version {result.version}: {result.status}",
        facts=_facts(result),
        metrics=(),
        ours="",
        sections=[_parity_section(result), _drift_section(result)],
        notes=result.reasons,
        tiles=[
            Tile("lists compared", f"{parity.lists:,}", f"of {result.ranked:,} with feature rows"),
            Tile("lists that differ", f"{parity.different:,}", f"{parity.different_rows:,} of {parity.rows:,} rows"),
            Tile("lists left out", f"{sum(parity.left_out.values()):,}", "could not be made again"),
            Tile("PSI of the scores", "unknown" if score is None else f"{score:.3f}", f"{drift.lists:,} lists"),
        ],
    )


def _parity_section(result: Result) -> Section:
    parity = result.parity
    features = sorted(parity.features, key=lambda one: -one.different)
    grids = [Grid(["feature", "rows", "different", "largest difference", "example"], [_line(one) for one in features])]
    if parity.left_out:
        rows = [[reason, str(count)] for reason, count in parity.left_out.items()]
        grids.insert(0, Grid(["left out", "lists"], rows))
    return Section("parity", "The same as in training?", [_PARITY], (), grids)


def _line(found: FeatureParity) -> list[str]:
    example = found.example
    shown = (
        ""
        if example is None
        else (
            f"{_number(example.served)} served, {_number(example.remade)} made again: {example.item_id} in list "
            f"{example.recommendation_id}"
        )
    )
    largest = "" if found.largest is None else f"{found.largest:.6g}"
    return [found.name, f"{found.rows:,}", f"{found.different:,}", largest, shown]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.9g}"


def _drift_section(result: Result) -> Section:
    drift = result.drift
    words = [_DRIFT] if drift.unknown is None else [_DRIFT, f"No verdict: {drift.unknown}."]
    if not drift.shifts:
        return Section("drift", "Like training?", words)
    pictures = [
        Picture("psi", f"The {SHOWN} columns that moved most.", plot_shifts(drift.shifts, result.rules)),
        Picture("distributions", "The columns that moved most, bin by bin.", plot_distributions(drift.shifts)),
    ]
    rows = [[shift.name, f"{shift.psi:.4f}", f"{shift.importance:.2%}"] for shift in drift.shifts]
    return Section("drift", "Like training?", words, pictures, [Grid(["column", "PSI", "share of gain"], rows)])


def _facts(result: Result) -> dict[str, str]:
    behind = "unknown" if result.behind_s is None else f"{result.behind_s:.0f} s in the median"
    return {
        "Version": result.version,
        "Bundle": result.digest,
        "Lists served": f"{_minute(result.since)} to {_minute(result.checked_at)} UTC",
        "Recorded": f"{result.recorded:,}, of this version {result.of_version:,}, ranked {result.ranked:,}",
        "Looked at": f"{result.taken:,}",
        "Age of item statistics": behind,
    }


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def lines_of(result: Result, at_most: int = 10) -> Sequence[str]:
    """Return the finding as a terminal shows it; the last line is the verdict."""
    of_whom = f"{result.ranked} with its feature rows, {result.taken} looked at"
    since = f"{result.recorded} lists recorded since {_minute(result.since)} UTC"
    lines = [f"version {result.version}: {since}, {of_whom}"]
    for one in result.parity.worst()[:at_most]:
        example = one.example
        assert example is not None  # noqa: S101  # wherever values differ
        lines.append(
            f"  {one.name}: {one.different} of {one.rows} rows differ, such as {_number(example.served)} served and "
            f"{_number(example.remade)} made again of {example.item_id} in list {example.recommendation_id}"
        )
    return [*lines, *(f"  {reason}" for reason in result.reasons), result.status]
