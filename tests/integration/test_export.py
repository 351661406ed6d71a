"""Exports: what they hold is what the tables hold, of one moment, and a run that fails leaves what was there."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pyarrow.dataset as ds
import pytest
from pydantic import SecretStr

from features.build import export as exporting
from features.build.export import MANIFEST, Manifest, OvertakenError, Watch, export, read_manifest
from features.contracts.errors import ContractError
from features.contracts.events import Event, stamp_event
from features.settings import Settings
from tests.conftest import WaitUntil
from tests.support.commands import run_command
from tests.support.tables import fill

pytestmark = pytest.mark.integration
START = datetime(2026, 1, 1, 22, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Return settings of a fresh database that holds some of everything."""
    settings = Settings(database_url=SecretStr(database_url))
    others: list[dict[str, Any]] = [
        {"type": "item", "item_id": "i1", "title": "One", "categories": ["a", "b"], "attributes": {"year": 1}},
        {"type": "user", "user_id": "u1", "attributes": {"age": 3}},
        {
            "type": "impression",
            "user_id": "u1",
            "recommendation_id": "r1",
            "items": [{"item_id": "i1", "position": 1, "score": 0.5}],
        },
        {"type": "feedback", "recommendation_id": "r1", "outcome": "clicked"},
    ]
    fill(settings, [event(f"other{n}", START, **fields) for n, fields in enumerate(others)], START)
    fill(settings, (interaction(n) for n in range(100)), START)
    return settings


def event(event_id: str, at: datetime, **fields: Any) -> Event:
    return stamp_event(fields, now=at, event_id=event_id)


def interaction(number: int) -> Event:
    at = START + timedelta(hours=number)
    value = None if number % 3 else number / 10
    return event(f"e{number}", at, user_id=f"u{number % 7}", item_id="i1", action="rating", value=value)


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        return connection.execute(query).fetchall()


def frame(folder: Path) -> pd.DataFrame:
    read: pd.DataFrame = ds.dataset(folder, partitioning="hive").to_table().to_pandas()
    return read


def test_pandas_and_arrow_read_back_what_the_tables_hold(settings: Settings, tmp_path: Path) -> None:
    manifest = export(settings, tmp_path / "out", list(exporting.KINDS))

    read = frame(tmp_path / "out" / "interactions").sort_values("occurred_at")
    assert read["event_id"].tolist() == [f"e{n}" for n in range(100)]
    assert read["occurred_at"].tolist() == [START + timedelta(hours=n) for n in range(100)]
    assert (read["day"] == read["occurred_at"].dt.strftime("%Y-%m-%d")).all()
    assert read["value"].isna().sum() == 66
    assert (tmp_path / "out" / "interactions" / "day=2026-01-01" / "part-0.parquet").is_file()
    assert len(pd.read_parquet(tmp_path / "out" / "interactions", filters=[("day", "=", "2026-01-02")])) == 24

    [item] = frame(tmp_path / "out" / "items").to_dict("records")
    assert (item["title"], list(item["categories"]), item["attributes"]) == ("One", ["a", "b"], '{"year": 1}')
    [shown] = frame(tmp_path / "out" / "impressions").to_dict("records")
    assert (list(shown["item_ids"]), list(shown["scores"])) == (["i1"], [0.5])
    assert {name: kind.rows for name, kind in manifest.kinds.items()} == {
        "interactions": 100,
        "impressions": 1,
        "feedback": 1,
        "items": 1,
        "users": 1,
    }
    assert read_manifest(tmp_path / "out") == manifest
    [(folder, count)] = rows(settings, "SELECT folder, rows FROM exports")
    assert (folder, count) == (str((tmp_path / "out").resolve()), 104)


def test_a_range_is_half_open_and_replaces_the_export_before(settings: Settings, tmp_path: Path) -> None:
    export(settings, tmp_path, ["interactions", "items"])
    since = datetime(2026, 1, 2, tzinfo=UTC)

    manifest = export(settings, tmp_path, since=since, until=since + timedelta(days=1))

    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "interactions", MANIFEST]
    assert [file.path for file in manifest.kinds["interactions"].files] == ["day=2026-01-02/part-0.parquet"]
    assert len(frame(tmp_path / "interactions")) == manifest.rows == 24
    assert (manifest.since, manifest.until) == (since, since + timedelta(days=1))


def test_rows_that_land_meanwhile_are_not_in_it(settings: Settings, tmp_path: Path) -> None:
    def land_more(_kind: str, _rows: int) -> None:
        fill(settings, [interaction(500)], datetime.now(UTC))

    assert export(settings, tmp_path, watch=Watch(on_kind=land_more)).rows == 100
    assert export(settings, tmp_path).rows == 101


def test_an_erasure_meanwhile_throws_the_copy_away(settings: Settings, tmp_path: Path) -> None:
    before = export(settings, tmp_path)

    def erase(_kind: str, _rows: int) -> None:
        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            connection.execute("INSERT INTO erasures (user_key, erased_at, receipt) VALUES ('k', now(), '{}')")

    with pytest.raises(OvertakenError, match="export again"):
        export(settings, tmp_path, watch=Watch(on_kind=erase))
    assert read_manifest(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "interactions", MANIFEST]


def test_a_folder_of_something_else_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ContractError, match=r"holds 'thesis\.txt'"):
        export(settings, tmp_path)


def test_two_exports_do_not_write_to_one_folder(settings: Settings, tmp_path: Path) -> None:
    def another(_kind: str, _rows: int) -> None:
        export(settings, tmp_path)

    with pytest.raises(ContractError, match="another export"):
        export(settings, tmp_path, watch=Watch(on_kind=another))


@pytest.mark.parametrize("moved", range(6))
def test_a_swap_that_was_killed_is_ended_or_undone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    before = export(settings, tmp_path, ["interactions", "items"])
    replace = Path.replace
    left = iter(range(moved))

    def until_killed(path: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", until_killed)
    with pytest.raises(KeyboardInterrupt):
        export(settings, tmp_path, ["interactions", "users"])
    monkeypatch.undo()

    with exporting._claimed(tmp_path):
        assert read_manifest(tmp_path) == before
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "interactions", "items", MANIFEST]
        assert len(frame(tmp_path / "interactions")) == 100


def test_a_killed_export_leaves_the_one_before_and_the_next_begins_anew(
    settings: Settings, tmp_path: Path, wait_until: WaitUntil
) -> None:
    before = export(settings, tmp_path)
    fill(settings, (interaction(n) for n in range(1_000, 61_000)), START)
    environment = {**os.environ, "MARQUEE_DATABASE_URL": settings.database_url.get_secret_value()}
    command = [sys.executable, "-m", "features", "export", str(tmp_path), "--all"]
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    wait_until(_some_day_in(tmp_path / ".writing"), 60, "the export writes aside")
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert (tmp_path / ".writing").exists()
    assert read_manifest(tmp_path) == before
    assert len(frame(tmp_path / "interactions")) == 100

    done = run_command(*command[2:], environment=environment)
    assert "60100 rows" in done.stdout
    manifest: Manifest = read_manifest(tmp_path)
    assert len(frame(tmp_path / "interactions")) == manifest.kinds["interactions"].rows == 60_100
    assert not (tmp_path / ".writing").exists()


def _some_day_in(folder: Path) -> Callable[[], bool]:
    return lambda: any(folder.glob("interactions/day=*/part-0.parquet"))
