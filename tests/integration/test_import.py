"""Bulk import: the same file again changes nothing, and a wrong value is named by file, row and column."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from pydantic import SecretStr

from features.contracts.events import BaseEvent, Interaction, Item, User
from features.landing.bulk import files
from features.landing.bulk.batches import Reader
from features.landing.bulk.files import FileError, open_table
from features.landing.bulk.importing import Imported, import_table, look
from features.settings import Settings
from tests.support.tables import fill

pytestmark = pytest.mark.integration
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Return settings of a fresh database."""
    return Settings(database_url=SecretStr(database_url))


def import_file(
    settings: Settings, kind: type[BaseEvent], path: Path, now: datetime, *, skip_bad: bool = False
) -> Imported:
    """Return what looking at a file and importing it did, as the command does both."""
    with Reader(open_table(path), kind, now) as reader:
        report = look(reader)
        if not skip_bad:
            report.refuse()
        return import_table(settings, reader, skip_bad=skip_bad)


def rows(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        return connection.execute(query).fetchall()


def parquet(folder: Path, **columns: object) -> Path:
    path = folder / "file.parquet"
    pd.DataFrame(columns).to_parquet(path)
    return path


def csv(folder: Path, text: str) -> Path:
    path = folder / "file.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_importing_twice_is_once_and_equal_rows_stay_apart(settings: Settings, tmp_path: Path) -> None:
    path = parquet(
        tmp_path,
        user_id=[1, 1, 1, 2],
        item_id=["a", "a", "b", "a"],
        occurred_at=pd.to_datetime(["2025-01-01", "2025-01-01", "2025-01-02", "2025-01-03"]),
        value=[3.0, 3.0, None, 5.0],
    )

    first = import_file(settings, Interaction, path, NOW)
    second = import_file(settings, Interaction, path, NOW)

    assert (first, second) == (Imported(4, 0), Imported(0, 4))
    assert rows(settings, "SELECT DISTINCT action, known_at = occurred_at, topic FROM interactions") == [
        ("rating", True, "import")
    ]
    assert rows(settings, "SELECT stored, duplicate, next_offset FROM consumer_offsets") == [(4, 4, 8)]
    assert rows(settings, "SELECT user_id, ARRAY(SELECT unnest(item_ids) ORDER BY 1) FROM user_seen ORDER BY 1") == [
        ("1", ["a", "b"]),
        ("2", ["a"]),
    ]


def test_the_same_rows_as_csv_and_parquet_are_the_same_events(settings: Settings, tmp_path: Path) -> None:
    numbers = parquet(tmp_path, user_id=[1], item_id=[7], occurred_at=[1_700_000_000], value=[4.0])
    text = csv(tmp_path, "user_id,item_id,occurred_at,value\n1,7,2023-11-14T22:13:20Z,4\n")

    assert import_file(settings, Interaction, numbers, NOW) == Imported(1, 0)
    assert import_file(settings, Interaction, text, NOW) == Imported(0, 1)


def test_an_event_id_of_the_files_own_is_kept(settings: Settings, tmp_path: Path) -> None:
    path = csv(tmp_path, "event_id,user_id,item_id,occurred_at,action\nmine,007,i,2025-01-01,like\n")

    import_file(settings, Interaction, path, NOW)

    assert rows(settings, "SELECT event_id, user_id, action FROM interactions") == [("mine", "007", "like")]


def test_items_keep_further_columns_as_attributes(settings: Settings, tmp_path: Path) -> None:
    path = csv(tmp_path, 'item_id,title,categories,year\n1,"A, B",x|y,1999\n2,C,,\n')

    import_file(settings, Item, path, NOW)

    assert rows(settings, "SELECT item_id, title, categories, attributes FROM items ORDER BY 1") == [
        ("1", "A, B", ["x", "y"], {"year": "1999"}),
        ("2", "C", [], {}),
    ]


def test_users_are_imported(settings: Settings, tmp_path: Path) -> None:
    import_file(settings, User, parquet(tmp_path, user_id=[1], age=[33]), NOW)

    assert rows(settings, "SELECT user_id, attributes FROM users") == [("1", {"age": 33})]


def test_a_catalogue_that_returns_to_an_earlier_state_is_imported(settings: Settings, tmp_path: Path) -> None:
    told = []
    for stock in (5, 0, 5, 5):
        path = csv(tmp_path, f"item_id,stock\nmoves,{stock}\nstays,7\n")
        done = import_file(settings, Item, path, NOW)
        told.append((done, rows(settings, "SELECT item_id, stock FROM items ORDER BY 1")))

    assert told == [
        (Imported(2, 0), [("moves", 5), ("stays", 7)]),
        (Imported(1, 1), [("moves", 0), ("stays", 7)]),
        (Imported(1, 1), [("moves", 5), ("stays", 7)]),
        (Imported(0, 2), [("moves", 5), ("stays", 7)]),
    ]


def test_users_who_return_to_an_earlier_state_are_imported(settings: Settings, tmp_path: Path) -> None:
    for plan in ("free", "paid", "free"):
        assert import_file(settings, User, csv(tmp_path, f"user_id,plan\n1,{plan}\n"), NOW) == Imported(1, 0)

    assert rows(settings, "SELECT attributes FROM users") == [({"plan": "free"},)]


def test_of_several_rows_of_an_item_the_last_counts_however_often_they_come(settings: Settings, tmp_path: Path) -> None:
    path = csv(tmp_path, "item_id,stock\n" + "".join(f"i,{stock}\n" for stock in (4, 1, 4, 3, 1, 9, 2)))

    for _ in range(3):
        import_file(settings, Item, path, NOW)
        assert rows(settings, "SELECT stock FROM items") == [(2,)]


def test_items_with_times_of_their_own_are_the_same_whenever_they_come(settings: Settings, tmp_path: Path) -> None:
    path = csv(tmp_path, "item_id,stock,occurred_at\ni,5,2025-01-01\ni,0,2025-01-02\n")

    assert import_file(settings, Item, path, NOW) == Imported(2, 0)
    assert import_file(settings, Item, path, NOW + timedelta(days=1)) == Imported(0, 2)
    assert rows(settings, "SELECT stock FROM items") == [(0,)]


@pytest.mark.parametrize("overtaken", [False, True])
def test_a_catalogue_goes_on_as_of_its_start_unless_another_came_since(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, overtaken: bool
) -> None:
    monkeypatch.setattr(files, "ROWS_AT_ONCE", 2)
    lines = [f'{{"item_id":"{item}","stock":5}}\n' for item in "abcd"]
    path, other = tmp_path / "five.jsonl", tmp_path / "none.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    other.write_text("".join(lines).replace("5", "0"), encoding="utf-8")

    class Interrupted(BaseException):
        """As Ctrl-C between two chunks."""

    def stop(rows_done: int) -> None:
        if rows_done:
            raise Interrupted

    with Reader(open_table(path), Item, NOW) as reader:
        look(reader)
        with pytest.raises(Interrupted):
            import_table(settings, reader, on_rows=stop)
    if overtaken:
        import_file(settings, Item, other, NOW)

    assert import_file(settings, Item, path, NOW) == (Imported(4, 0) if overtaken else Imported(4, 0, resumed_at=2))
    assert rows(settings, "SELECT item_id, stock FROM items ORDER BY 1") == [(item, 5) for item in "abcd"]
    if not overtaken:
        span = "SELECT max(occurred_at) - min(occurred_at) FROM item_versions"
        assert rows(settings, span) == [(timedelta(microseconds=3),)], "in the file's order, whoever imported them"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Interaction, "user_id,item_id\n1,2\n", "no column occurred_at among user_id, item_id"),
        (Interaction, "user_id,item_id,occurred_at\n1,2,soon\n", "row 1, column occurred_at: 'soon'"),
        (Interaction, "user_id,item_id,occurred_at,value\n1,2,5,1\n1,2,5,x\n", "row 2, column value: 'x'"),
        (
            Interaction,
            "user_id,item_id,occurred_at,value\n1,2,5,inf\n",
            "column value: expected a finite number:\n    row 1, column value: 'inf'",
        ),
        (Interaction, "user_id,item_id,occurred_at\n,2,5\n", "row 1, column user_id: None"),
        (Interaction, "user_id,item_id,occurred_at,action\n1,2,5,Oh No\n", "column action: 'Oh No'"),
        (
            Item,
            "item_id,hidden\n1,perhaps\n",
            "column hidden: expected true or false:\n    row 1, column hidden: 'perhaps'",
        ),
        (User, "", "empty"),
        (User, "user_id\n1\n2,3\n", "file.csv: CSV parse error"),
    ],
)
def test_what_cannot_be_imported_is_named(
    settings: Settings, tmp_path: Path, kind: type[BaseEvent], text: str, message: str
) -> None:
    path = csv(tmp_path, text)

    with pytest.raises(FileError, match=re.escape(message)) as caught:
        import_file(settings, kind, path, NOW)

    assert str(path) in str(caught.value)
    assert rows(settings, "SELECT count(*) FROM interactions") == [(0,)]


def test_at_most_ten_problems_are_shown(settings: Settings, tmp_path: Path) -> None:
    path = csv(tmp_path, "user_id,item_id,occurred_at\n" + "1,2,never\n" * 50)

    with pytest.raises(FileError) as caught:
        import_file(settings, Interaction, path, NOW)

    assert str(caught.value).count("never") == 10


def test_ids_that_are_floats_are_refused(settings: Settings, tmp_path: Path) -> None:
    path = parquet(tmp_path, user_id=[1.0], item_id=["a"], occurred_at=[5])

    with pytest.raises(FileError, match=r"row 1, column user_id: 1\.0"):
        import_file(settings, Interaction, path, NOW)


def test_columns_are_written_as_rows_are(settings: Settings, tmp_path: Path) -> None:
    odd: list[tuple[Any, ...]] = [
        ("a", "u", "i", "view", None),
        ("\u00e9" * 64, "\U0001f3ac" * 256, "x" * 256, "a" * 32, 1e-308),
        ("c", "0", None, "search", -0.0),
        ("d", " ", "\\N", "rating", -2.5),
        ("a", "again", "i", "view", None),
    ]
    at = [NOW - timedelta(microseconds=number) for number in range(3)]
    at += [datetime(1970, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(hours=1)]
    names = ("event_id", "user_id", "item_id", "action", "value")
    columns = dict(zip(names, zip(*odd, strict=True), strict=True))
    import_file(settings, Interaction, parquet(tmp_path, **columns, occurred_at=at), datetime.now(UTC))
    events = [
        Interaction(schema_version=1, occurred_at=when, **dict(zip(names, one, strict=True)))
        for one, when in zip(odd, at, strict=True)
    ]
    by_rows = "SELECT {} FROM interactions WHERE topic = '{}' ORDER BY event_id"
    told = (
        "event_id, user_id, item_id, action, value, occurred_at, known_at, schema_version, recommendation_id, context"
    )
    imported = rows(settings, by_rows.format(told, "import"))
    assert len(imported) == 4
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        connection.execute("TRUNCATE interactions")
    fill(settings, events, datetime.now(UTC), backfill=True)
    assert rows(settings, by_rows.format(told, "test")) == imported
    assert sorted(rows(settings, "SELECT user_id, item_ids FROM user_seen WHERE user_id IN ('u', ' ')")) == [
        (" ", ["\\N"]),
        ("u", ["i"]),
    ]
