"""Items and users of files: what a live event could not say is named by row and column before anything is written."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from features.contracts.events import BaseEvent, Item, User
from features.landing.bulk.batches import Reader
from features.landing.bulk.files import FileError, open_table
from features.landing.bulk.importing import look
from features.landing.bulk.report import Report

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD: dict[type[BaseEvent], dict[str, Any]] = {
    Item: {"item_id": "good", "title": "a backslash: \\u0000", "occurred_at": (NOW + timedelta(hours=23)).isoformat()},
    User: {"user_id": "good", "occurred_at": "1970-01-01T00:00:00Z"},
}


def looked_at(folder: Path, kind: type[BaseEvent], row: dict[str, Any]) -> tuple[Report, int]:
    """Return what a look at a good row and another finds, and how many of them are good."""
    path = folder / "file.jsonl"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, (GOOD[kind], row))))
    with Reader(open_table(path), kind, NOW) as reader:
        report = look(reader)
        return report, sum(len(reader.read(chunk, Report(path), NOW).content) for chunk in reader.table.chunks())


@pytest.mark.parametrize(
    ("kind", "row", "column", "message"),
    [
        (Item, {"occurred_at": "2099-01-01T00:00:00Z"}, "occurred_at", "a day after now, 2026-01-01 00:00 UTC"),
        (User, {"occurred_at": "1969-12-31T00:00:00Z"}, "occurred_at", "lies before 1970; is it counted in"),
        (Item, {"item_id": "nul\0"}, "item_id", "U+0000"),
        (Item, {"event_id": "nul\0"}, "event_id", "U+0000"),
        (Item, {"title": "nul\0"}, "title", "U+0000"),
        (Item, {"categories": ["a", "nul\0"]}, "categories[1]", "U+0000"),
        (Item, {"colour": "nul\0"}, "attributes.colour", "U+0000"),
        (User, {"attributes": {"a": [{"b": "nul\0"}]}}, "attributes.a[0].b", "U+0000"),
    ],
)
def test_what_no_event_may_say_is_refused_by_row_and_column(
    tmp_path: Path, kind: type[BaseEvent], row: dict[str, Any], column: str, message: str
) -> None:
    report, good = looked_at(tmp_path, kind, {**dict.fromkeys(("item_id", "user_id"), "x"), **row})

    assert (report.rows, report.bad_rows, good) == (2, 1, 1), "--skip-bad leaves one"
    with pytest.raises(FileError) as caught:
        report.refuse()
    assert f"row 2, column {column}: " in str(caught.value)
    assert message in str(caught.value)
    assert "None" not in str(caught.value), "the value is shown"


@pytest.mark.parametrize("levels", [31, 900, 5_000])
def test_a_line_that_is_nested_deep_is_named(tmp_path: Path, levels: int) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text('{"item_id": "good"}\n{"item_id": "x", "attributes": {"a": ' + "[" * levels + "]" * levels + "}}")

    with pytest.raises(FileError, match=r"file\.jsonl: line 2: .*(33|902) levels deep; at most 32|line 2: .*recursion"):
        list(open_table(path).chunks())


@pytest.mark.parametrize("levels", [31, 5_000])
def test_attributes_in_a_cell_that_are_nested_deep_are_named(tmp_path: Path, levels: int) -> None:
    path = tmp_path / "file.csv"
    path.write_text('item_id,attributes\nx,"{""a"": ' + "[" * levels + "]" * levels + '}"\n')

    with Reader(open_table(path), Item, NOW) as reader:
        report = look(reader)

    assert [problem.column for problem in report.problems.values()] == ["attributes"]


def test_many_wrong_times_are_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("item_id,occurred_at\n" + "".join(f"{day},2099-01-{day:02}\n" for day in range(1, 31)))

    with Reader(open_table(path), Item, NOW) as reader:
        report = look(reader)

    [problem] = report.problems.values()
    assert (problem.rows, len(problem.examples)) == (30, 10)
