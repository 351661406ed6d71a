"""`python -m features import`: what it says of a file, what it leaves out, and what an interruption costs."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest
from pydantic import SecretStr

from features.contracts.erasure import user_key
from features.contracts.events import Interaction
from features.landing.bulk import importing
from features.landing.bulk.batches import Reader
from features.landing.bulk.files import ROWS_AT_ONCE, open_table
from features.settings import Settings
from tests.conftest import WaitUntil
from tests.support.commands import run_command

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "a secret of the tests"  # noqa: S105


class Shell:
    """Runs the command against one database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.environment = {**os.environ, "MARQUEE_DATABASE_URL": url, "MARQUEE_ERASURE_SECRET": SECRET}

    def start(self, *arguments: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "features", "import", *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments: object, code: int = 0) -> str:
        done = run_command("features", "import", *map(str, arguments), environment=self.environment, timeout=600)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def shell(database_url: str) -> Shell:
    """Return a shell around a fresh database."""
    return Shell(database_url)


def big(folder: Path, rows: int = 4 * ROWS_AT_ONCE) -> Path:
    """Return a file in which every third row says the same as the one before."""
    rng = np.random.default_rng(0)
    number = np.arange(rows) - (np.arange(rows) % 3 == 2)
    at = pd.to_datetime(1_600_000_000 + number, unit="s")
    users, items = rng.integers(1_000, size=rows), rng.integers(500, size=rows)
    frame = pd.DataFrame({"user_id": users[number], "item_id": items[number], "occurred_at": at})
    path = folder / "big.parquet"
    frame.to_parquet(path)
    return path


def balance(shell: Shell) -> tuple[int, ...]:
    """Return rows in the table, distinct ids, and the partition's stored, duplicate and offset."""
    [counted] = shell.rows("SELECT count(*), count(DISTINCT event_id) FROM interactions")
    [counters] = shell.rows("SELECT stored, duplicate, next_offset FROM consumer_offsets")
    return (*counted, *counters)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_import_goes_on_where_it_was(
    shell: Shell, tmp_path: Path, wait_until: WaitUntil, number: signal.Signals
) -> None:
    path, rows = big(tmp_path), 4 * ROWS_AT_ONCE
    process = shell.start("--interactions", path)
    wait_until(lambda: shell.rows("SELECT 1 FROM imports WHERE rows_done > 0"), 60, "a chunk is written")
    process.send_signal(number)
    out, err = process.communicate()
    assert "stored" not in out
    assert process.returncode == (-9 if number is signal.SIGKILL else 130), err
    [(done,)] = shell.rows("SELECT rows_done FROM imports")
    assert 0 < done < rows
    assert balance(shell) == (done, done, done, 0, done), "rows, counters and progress move together"

    told = shell.run("--interactions", path)

    assert f"{rows} stored, 0 were there already (the first {done} rows by an earlier run)" in told
    assert f"{rows // 3} say the same as an earlier one" in told
    assert balance(shell) == (rows, rows, rows, 0, rows)
    assert shell.rows("SELECT rows_done, finished_at IS NOT NULL FROM imports") == [(rows, True)]


def test_a_file_that_is_done_is_imported_anew(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("user_id,item_id,occurred_at\n" + "1,2,5\n" * 3, encoding="utf-8")
    assert "3 stored, 0 were there already\n" in shell.run("--interactions", path)
    assert "0 stored, 3 were there already\n" in shell.run("--interactions", path)
    shell.rows("DELETE FROM interactions WHERE kafka_offset = 1 RETURNING 1")
    assert "1 stored, 2 were there already\n" in shell.run("--interactions", path)
    assert balance(shell) == (3, 3, 4, 5, 9)


BAD = "user_id,item_id,occurred_at,value\n" + "1,2,2025-01-01,3\n" * 3 + "1,2,never,x\n,2,5,1\n" * 12 + "1,2,6,4\n"


def test_bad_rows_refuse_the_file_unless_told_to_leave_them_out(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(BAD, encoding="utf-8")

    looked = shell.run("--interactions", path, "--dry-run", code=1)
    assert "28 rows, 4 good, 24 bad, 2 say the same as an earlier one" in looked
    assert [looked.count(value) for value in ("'never'", "'x'", "None")] == [10, 10, 10], "ten examples of each"
    assert looked.count("12 ") >= 3, "and how many there are"
    assert "24 of 28 rows cannot be imported" in shell.run("--interactions", path, code=2)
    assert shell.rows("SELECT count(*) FROM interactions") == [(0,)]

    assert "4 stored, 0 were there already, 24 left out" in shell.run("--interactions", path, "--skip-bad")
    assert balance(shell) == (4, 4, 4, 0, 4)
    assert shell.rows("SELECT rows_done, refused FROM imports") == [(28, 24)]


def test_columns_get_the_names_that_they_need(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("customer,sku,time\n7,A-1,1700000000\n7,A-2,1700000000123\n", encoding="utf-8")
    names = ("--map", "customer=user_id", "--map", "sku=item_id", "--map", "time=occurred_at")

    assert "no column user_id, item_id, occurred_at" in shell.run("--interactions", path, code=2)
    assert "no file has a column skew" in shell.run("--interactions", path, *names, "--map", "skew=x", code=2)
    shell.run("--interactions", path, *names, "--action", "purchase")

    assert shell.rows("SELECT user_id, item_id, action, occurred_at FROM interactions ORDER BY item_id") == [
        ("7", "A-1", "purchase", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("7", "A-2", "purchase", datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)),
    ]


def test_json_lines_hold_what_columns_cannot(shell: Shell, tmp_path: Path) -> None:
    items, path = tmp_path / "items.jsonl", tmp_path / "events.jsonl"
    item = {"item_id": 1, "title": "One", "categories": ["a"], "attributes": {"cast": ["x"]}, "stock": 3, "year": 1999}
    items.write_text(json.dumps(item) + '\n\n{"item_id":"2","deleted":true}\n', encoding="utf-8")
    acts = [
        {"user_id": 1, "item_id": "1", "occurred_at": "2025-01-01T00:00:00+02:00", "action": "rating", "value": 4},
        {"user_id": "u", "item_id": None, "occurred_at": 1_700_000_000, "action": "search"},
    ]
    path.write_text("\n".join(map(json.dumps, acts)), encoding="utf-8")

    shell.run("--items", items, "--interactions", path)

    assert shell.rows("SELECT item_id, title, categories, attributes, stock, deleted FROM items ORDER BY 1") == [
        ("1", "One", ["a"], {"cast": ["x"], "year": 1999}, 3, False),
        ("2", "", [], {}, None, True),
    ]
    assert shell.rows("SELECT user_id, item_id, action, value, occurred_at FROM interactions ORDER BY 1") == [
        ("1", "1", "rating", 4.0, datetime(2024, 12, 31, 22, tzinfo=UTC)),
        ("u", None, "search", None, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
    ]
    assert "line 2: " in shell.run("--users", _broken(tmp_path), code=2)


def _broken(folder: Path) -> Path:
    path = folder / "users.jsonl"
    path.write_text('{"user_id":1}\n{"user_id":\n', encoding="utf-8")
    return path


def test_a_movielens_folder_is_imported_whole(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,10,4.5,964982703\n", encoding="utf-8")
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n10,"A, B (1999)",Drama|War\n11,C,(no genres listed)\n', encoding="utf-8"
    )

    shell.run("--movielens", tmp_path)

    assert shell.rows("SELECT item_id, title, categories FROM items ORDER BY 1") == [
        ("10", "A, B (1999)", ["Drama", "War"]),
        ("11", "C", []),
    ]
    assert shell.rows("SELECT user_id, item_id, action, value FROM interactions") == [("1", "10", "rating", 4.5)]


def test_erased_users_do_not_come_back(shell: Shell, tmp_path: Path) -> None:
    with psycopg.connect(shell.url) as connection:
        connection.execute(
            "INSERT INTO erasures (user_key, erased_at, receipt) VALUES (%s, now(), '{}')",
            [user_key(SECRET.encode(), "gone")],
        )
    path = tmp_path / "file.csv"
    path.write_text("user_id,item_id,occurred_at\ngone,1,5\nhere,1,5\n", encoding="utf-8")

    assert "1 stored, 0 were there already, 1 of erased users" in shell.run("--interactions", path)
    assert shell.rows("SELECT user_id FROM interactions") == [("here",)]
    assert shell.rows("SELECT stored, duplicate, skipped, next_offset FROM consumer_offsets") == [(1, 0, 1, 2)]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"occurred_at": [NOW + timedelta(days=2)]}, "lies more than a day after now"),
        ({"occurred_at": [-5]}, "lies before 1970"),
        ({"occurred_at": [-(1 << 63)]}, "lies before 1970"),
        ({"occurred_at": [(1 << 63) - 1]}, "lies more than a day after now"),
        ({"occurred_at": [None]}, "missing"),
        ({"item_id": [None]}, "missing"),
        ({"item_id": ["x" * 257]}, "expected 1 to 256 characters"),
        ({"user_id": ["a\0b"]}, "U+0000"),
        ({"user_id": [True]}, "expected text or a whole number"),
        ({"action": ["Like"]}, "expected 1 to 32 of a-z and _"),
        ({"value": [float("inf")]}, "expected a finite number"),
        ({"value": [True]}, "expected a number"),
        ({"event_id": ["x" * 65]}, "expected 1 to 64 characters"),
    ],
)
def test_what_is_wrong_with_a_row_is_told(tmp_path: Path, columns: dict[str, Any], told: str) -> None:
    path = tmp_path / "file.parquet"
    good = {"user_id": ["u"], "item_id": ["i"], "occurred_at": [5], "action": ["view"], "value": [1.0]}
    pd.DataFrame({**good, **columns}).to_parquet(path)

    with Reader(open_table(path), Interaction, NOW) as reader:
        report = importing.look(reader)

    assert (report.rows, report.bad_rows) == (1, 1)
    [problem] = report.problems.values()
    assert (problem.column, problem.rows) == (next(iter(columns)), 1)
    assert told in problem.message


def test_a_short_outage_does_not_end_an_import(database_url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=SecretStr(database_url))
    done: list[int] = []

    def cut(rows: int) -> None:
        done.append(rows)
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'marquee-import' AND datname = current_database()"
            )

    with Reader(open_table(big(tmp_path, 2 * ROWS_AT_ONCE)), Interaction, NOW) as reader:
        importing.look(reader)
        imported = importing.import_table(settings, reader, on_rows=cut)

    assert imported == importing.Imported(2 * ROWS_AT_ONCE, 0)
    assert done == [0, *[ROWS_AT_ONCE] * 2]
