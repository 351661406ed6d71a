"""Items and users are what all that was said of them says, in whatever order it arrives."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from features.contracts.events import Event, Item, User, stamp_event
from features.db.connection import connect
from features.db.gate import enter_gate
from features.landing.rows import ROWS, Row
from features.landing.write import prepare, write_rows
from features.settings import Settings

pytestmark = pytest.mark.integration
DAY_0 = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = "title, text, categories, attributes, hidden, deleted, stock, published_at, expires_at"


class Catalogue:
    """A fresh database into which versions are written, a transaction for each group."""

    def __init__(self, url: str) -> None:
        self._settings = Settings(database_url=SecretStr(url))
        self._url = url
        self._offset = 0

    def write(self, *events: Event) -> None:
        with connect(self._settings, name="test") as connection:
            prepare(connection)
            rows: dict[Any, list[Row]] = {kind: [] for kind in ROWS}
            for event in events:
                rows[type(event)].append(ROWS[type(event)](event, None, "test", 0, self._offset))
                self._offset += 1
            with connection.transaction():
                write_rows(connection, rows, enter_gate(connection))

    def item(self, item_id: str = "i") -> dict[str, Any]:
        with psycopg.connect(self._url) as connection:
            found = connection.execute(f"SELECT {COLUMNS} FROM items WHERE item_id = %s", [item_id]).fetchone()  # noqa: S608
        assert found is not None
        return dict(zip(COLUMNS.split(", "), found, strict=True))

    def attributes(self, user_id: str) -> Any:
        with psycopg.connect(self._url) as connection:
            found = connection.execute("SELECT attributes FROM users WHERE user_id = %s", [user_id]).fetchone()
        assert found is not None
        return found[0]


@pytest.fixture
def catalogue(database_url: str) -> Catalogue:
    return Catalogue(database_url)


def version(day: int, kind: str = "item", **fields: Any) -> Event:
    key = {"item_id": "i"} if kind == "item" else {"user_id": "u"}
    at = DAY_0 + timedelta(days=day)
    return stamp_event({"type": kind, **key, **fields}, now=at, event_id=f"v{day}")


def test_a_partial_version_changes_only_what_it_names(catalogue: Catalogue) -> None:
    catalogue.write(version(0, title="Heat", categories=["Crime"], stock=3, attributes={"year": 1995, "cut": "long"}))
    catalogue.write(version(1, partial=True, stock=0, attributes={"cut": None, "rating": 8.3}))

    item = catalogue.item()

    assert (item["title"], item["categories"], item["stock"]) == ("Heat", ["Crime"], 0)
    assert item["attributes"] == {"year": 1995, "rating": 8.3}


@pytest.mark.parametrize("partial", [False, True])
def test_a_change_is_dated_after_those_before_it_though_the_clock_was_set_back(
    catalogue: Catalogue, database_url: str, *, partial: bool
) -> None:
    catalogue.write(version(0, title="Heat"), version(2, title="Other", item_id="other"))
    with psycopg.connect(database_url, autocommit=True) as connection:
        last = "UPDATE items SET changed_at = now() + interval '1 hour' WHERE item_id = 'other' RETURNING changed_at"
        [[newest]] = connection.execute(last).fetchall()
        catalogue.write(version(1, partial=partial, title="Heat", hidden=True))
        later = connection.execute("SELECT item_id FROM items WHERE changed_at > %s", [newest]).fetchall()
    assert later == [("i",)]


def test_a_partial_version_leaves_nulls_within_attributes_as_they_are(catalogue: Catalogue) -> None:
    said = {"size": {"width": None, "height": 2}, "parts": [{"name": None}], "cut": "long"}
    catalogue.write(version(0, attributes=said), version(0, "user", attributes=said))
    named = {"cut": None, "frame": {"width": None}}
    catalogue.write(version(1, partial=True, attributes=named), version(2, "user", partial=True, attributes=named))

    expected = {name: said[name] for name in ("size", "parts")} | {"frame": {"width": None}}
    assert catalogue.item()["attributes"] == expected
    assert catalogue.attributes("u") == expected


def test_a_whole_version_replaces_all_and_brings_a_deleted_item_back(catalogue: Catalogue) -> None:
    catalogue.write(version(0, title="Heat", text="A heist.", expires_at="2030-01-01T00:00:00Z"))
    catalogue.write(version(1, partial=True, deleted=True))
    assert catalogue.item()["deleted"]
    catalogue.write(version(2, partial=True, hidden=True))
    assert catalogue.item()["deleted"], "hiding does not bring it back"

    catalogue.write(version(3, title="Heat 2"))

    item = catalogue.item()
    assert (item["title"], item["text"], item["expires_at"]) == ("Heat 2", "", None)
    assert not item["deleted"]
    assert not item["hidden"]


def test_an_explicit_null_takes_a_date_away_and_silence_keeps_it(catalogue: Catalogue) -> None:
    catalogue.write(version(0, expires_at="2030-01-01T00:00:00+02:00", published_at="2026-01-01T00:00:00Z"))
    catalogue.write(version(1, partial=True, expires_at=None))

    item = catalogue.item()

    assert item["expires_at"] is None
    assert item["published_at"] == DAY_0


def test_a_partial_version_of_an_unknown_item_makes_it(catalogue: Catalogue) -> None:
    catalogue.write(version(1, partial=True, title="Alone"))
    assert catalogue.item()["title"] == "Alone"
    catalogue.write(version(0, title="Before", text="told later"))
    assert (catalogue.item()["title"], catalogue.item()["text"]) == ("Alone", "told later")


def test_what_comes_again_under_a_new_time_undoes_nothing(catalogue: Catalogue) -> None:
    """As a file without times that is imported again, or a request that is sent again with its `Idempotency-Key`."""
    catalogue.write(version(0, title="Heat"), version(0, "user", attributes={"plan": "free"}))
    catalogue.write(version(1, title="Heat", hidden=True))
    catalogue.write(stamp_event({"type": "user", "user_id": "u"}, now=DAY_0 + timedelta(days=1), event_id="v1u"))
    later = DAY_0 + timedelta(days=2)
    for said in ({"type": "item", "item_id": "i", "title": "Heat"}, {"type": "user", "user_id": "u", "attributes": {}}):
        catalogue.write(stamp_event(said, now=later, event_id="v0"))
    assert catalogue.item()["hidden"]
    assert catalogue.attributes("u") == {}


def test_users_attributes_are_merged_the_same_way(catalogue: Catalogue) -> None:
    catalogue.write(version(0, "user", attributes={"age": 30, "plan": "free"}))
    catalogue.write(version(2, "user", partial=True, attributes={"plan": None}))
    catalogue.write(version(1, "user", partial=True, attributes={"plan": "paid", "city": "Rome"}))

    assert catalogue.attributes("u") == {"age": 30, "city": "Rome"}


def versions_of(numbers: Sequence[int], rng: random.Random) -> list[Event]:
    members = {"title": "t{}", "text": "x{}", "hidden": True, "stock": 4, "attributes": {"a": 1}, "categories": ["c{}"]}
    made = []
    for number in numbers:
        named = rng.sample(sorted(members), rng.randint(1, 4))
        fields = {name: _numbered(members[name], number) for name in named}
        made.append(version(number, partial=rng.random() < 0.6, **fields))
    return made


def _numbered(value: Any, number: int) -> Any:
    if isinstance(value, str):
        return value.format(number)
    if isinstance(value, list):
        return [_numbered(part, number) for part in value]
    return {"a": number, f"only{number}": None} if isinstance(value, dict) else value


def told(versions: Sequence[Event]) -> dict[str, Any]:
    """Return what versions in their order say, by the rule in words: whole ones begin anew, attributes merge."""
    state: dict[str, Any] = {}
    for one in versions:
        assert isinstance(one, Item)
        said = one.said()
        attributes = {**(state.get("attributes", {}) if one.partial else {}), **said.get("attributes", {})}
        state = {**(state if one.partial else {}), **said}
        if "attributes" in said:
            kept = {key: value for key, value in attributes.items() if value is not None}
            state["attributes"] = kept if one.partial else said["attributes"]
    return state


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_arrival_and_any_grouping_comes_to_the_same(catalogue: Catalogue, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  # a test's dice
    versions = versions_of(range(8), rng)
    arriving = [*versions, *rng.sample(versions, 2)]
    rng.shuffle(arriving)
    while arriving:
        some, arriving = arriving[: (taken := rng.randint(1, 3))], arriving[taken:]
        catalogue.write(*some)

    expected = told(versions)

    item = catalogue.item()
    defaults = {"title": "", "text": "", "categories": [], "attributes": {}, "hidden": False, "stock": None}
    assert {name: item[name] for name in defaults} == {**defaults, **expected}


def test_users_are_items_likewise(catalogue: Catalogue) -> None:
    whole = version(3, "user", attributes={"new": 1})
    assert isinstance(whole, User)
    catalogue.write(version(5, "user", partial=True, attributes={"late": 2}), whole)
    catalogue.write(version(1, "user", attributes={"old": 0}))

    assert catalogue.attributes("u") == {"new": 1, "late": 2}
