"""A snapshot holds what was known in its range, in order, and says what it holds."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from msgspec import structs
from pydantic import SecretStr

from features.build.earlier import COUNTED_FILE, EARLIER_FILE
from features.build.live_statistics import refresh_statistics
from features.build.part_files import PartFiles
from features.build.progress import read_progress
from features.build.replay import final_state, replay_statistics
from features.build.snapshot import write_snapshot
from features.contracts.events import Event, stamp_event
from features.contracts.found_weights import DataShape, weights_for
from features.contracts.statistics import BUCKET_US
from features.contracts.times import to_us
from features.db.connection import connect
from features.db.queries import queries
from features.served import statistics_at
from features.settings import Settings
from tests.support.tables import fill
from training.frames import load_snapshot

pytestmark = pytest.mark.integration
START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(minutes=15)
"""When two of the interactions became known: a bucket after the others."""


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Return settings of a database with five interactions, a search and two versions of an item."""
    settings = Settings(database_url=SecretStr(database_url))
    fill(settings, [act("e", 0), act("b", 1, "rating", 4.0), act("d", 2)], START, backfill=True)
    fill(settings, [act("c", 9), act("a", 9), act("s", 9, "search")], LATER)
    for minute, title in ((1, "old"), (2, "new")):
        fields = {"type": "item", "item_id": "i1", "title": title, "categories": ["x"], "attributes": {"year": 1999}}
        fields["published_at"] = "2026-01-01T12:00:00Z"
        now = START + timedelta(minutes=minute)
        fill(settings, [stamp_event(fields, now=now, event_id=title)], now)
    return settings


def act(name: str, minute: int, action: str = "view", value: float | None = None) -> Event:
    item_id = None if action == "search" else "i1"
    fields = {"user_id": "u", "item_id": item_id, "action": action, "value": value}
    return stamp_event(fields, now=START + timedelta(minutes=minute), event_id=name)


def acted(number: int, random: np.random.Generator) -> Event:
    """Return one of some events of six hours, of few users and items, many of them repeats."""
    action = str(random.choice(["view", "purchase", "dislike", "rating"]))
    who, what, value = random.integers(9), random.integers(12), float(random.integers(1, 6))
    fields = {"user_id": f"u{who}", "item_id": f"i{what}", "action": action, "value": value}
    return stamp_event(fields, now=START + timedelta(minutes=0.9 * number), event_id=f"acted-{number:03}")


def test_everything_in_the_order_in_which_it_became_known(settings: Settings, tmp_path: Path) -> None:
    info = write_snapshot(settings, tmp_path)

    frame = pd.read_parquet(tmp_path / "interactions")
    columns = ["event_id", "user_id", "item_id", "action", "value", "occurred_at", "known_at", "repeat"]
    assert list(frame.columns) == columns
    assert frame["event_id"].tolist() == ["b", "d", "e", "a", "c"]
    assert str(frame["known_at"].dtype) == "datetime64[us, UTC]"
    assert frame["known_at"].is_monotonic_increasing
    assert frame["repeat"].tolist() == [False, False, True, True, True], "b is a rating, d the first look"
    assert frame["value"].isna().tolist() == [False, True, True, True, True]
    assert (info.interactions, info.items) == (5, 1)
    assert info.events == {"view": 4, "rating": 1}, "a search is of no item"
    assert (info.weights.actions["rating"].base, info.weights.rating_scale) == (2.0, 5.0)
    assert (info.first_known_us, info.last_known_us) == (to_us(START), to_us(LATER))
    assert info.last_occurred_us == to_us(START + timedelta(minutes=9))
    for name, digest in info.sha256.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


def test_items_are_as_they_were_known(settings: Settings, tmp_path: Path) -> None:
    write_snapshot(settings, tmp_path, until_us=to_us(START + timedelta(minutes=2)))
    [before] = pd.read_parquet(tmp_path / "items.parquet").to_dict("records")
    write_snapshot(settings, tmp_path)
    [after] = pd.read_parquet(tmp_path / "items.parquet").to_dict("records")

    assert (before["title"], after["title"]) == ("old", "new")
    assert list(after["categories"]) == ["x"]
    assert after["attributes"] == '{"year": 1999}'
    assert after["published_at"] == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert before["first_known_at"] == after["first_known_at"] == START + timedelta(minutes=1)


def test_a_range_is_half_open(settings: Settings, tmp_path: Path) -> None:
    end = to_us(LATER)

    until = write_snapshot(settings, tmp_path, until_us=end)
    since = write_snapshot(settings, tmp_path, since_us=end)

    assert (until.interactions, until.until_us) == (3, end)
    assert (since.interactions, since.since_us) == (2, end)
    assert since.weights == until.weights, "weights are those of all data, whatever the window"
    assert since.events == {"view": 4, "rating": 1}
    assert pd.read_parquet(tmp_path / "interactions")["repeat"].all(), "and so is what is a repeat"
    within = write_snapshot(settings, tmp_path, since_us=end + 60_000_000)
    assert (within.interactions, within.since_us) == (2, end), "buckets are whole"


@pytest.mark.parametrize("gone", [False, True], ids=["left out", "deleted by retention"])
def test_items_are_counted_from_before_the_range_as_live_statistics_count_them(
    settings: Settings, tmp_path: Path, *, gone: bool
) -> None:
    random = np.random.default_rng(0)
    fill(settings, [acted(number, random) for number in range(400)], START + timedelta(hours=7), backfill=True)
    closed_us = to_us(refresh_statistics(settings, until=START + timedelta(days=1)).closed_at)
    begin = START + timedelta(hours=3)
    with connect(settings, name="test", autocommit=True) as connection:
        stored = statistics_at(connection, closed_us)
        if gone:
            connection.execute("DELETE FROM interactions WHERE known_at < %s", [begin])

    info = write_snapshot(settings, tmp_path, since_us=None if gone else to_us(begin))

    interactions = load_snapshot(tmp_path, info.weights).interactions
    assert EARLIER_FILE in info.sha256
    assert len(interactions) == info.interactions < 250
    expected, _ = stored.aligned(interactions.items)
    edges = np.array([closed_us])
    [found] = replay_statistics(interactions.statistic_events(), interactions.start(), edges, bucket_us=BUCKET_US)
    # Of a repeat whose first time was deleted nobody can tell: it counts as liking once more.
    same = {"seen", "disliked", "first_at_us", "last_at_us", "rating_count", "rating_sum"} if gone else vars(found)
    for name in same:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected.at(closed_us), name), err_msg=name)
    other = replace(info.weights, rating_scale=10.0)
    assert load_snapshot(tmp_path, other).interactions.earlier is None, "what was weighed otherwise counts for nothing"


def test_where_topics_keep_their_rows_for_different_times_items_count_as_in_live_statistics(
    settings: Settings, tmp_path: Path
) -> None:
    random = np.random.default_rng(1)
    events = [structs.replace(acted(number, random), user_id=f"of-{number}") for number in range(400)]
    fill(settings, events, START + timedelta(hours=7), backfill=True)
    closed_us = to_us(refresh_statistics(settings, until=START + timedelta(days=1)).closed_at)
    with connect(settings, name="test", autocommit=True) as connection:
        stored = statistics_at(connection, closed_us)
        imported = "DELETE FROM interactions WHERE known_at < %s AND event_id LIKE '%%7' RETURNING known_at"
        gone = connection.execute(imported, [START + timedelta(hours=3)]).fetchall()
        queries.gone_until(connection, known_at=max(gone)[0])
        base_us = to_us(read_progress(connection).base_at)

    info = write_snapshot(settings, tmp_path)

    interactions = load_snapshot(tmp_path, info.weights).interactions
    assert {EARLIER_FILE, COUNTED_FILE} & info.sha256.keys() == {COUNTED_FILE}
    assert info.first_known_us == to_us(START)
    events_left, start = interactions.statistic_events(), interactions.start()
    edges = np.array([base_us - BUCKET_US, base_us, closed_us])
    before, *found = replay_statistics(events_left, start, edges, bucket_us=BUCKET_US)
    assert before.seen.sum() == (interactions.known_us < base_us - BUCKET_US).sum(), "of before it what is left tells"
    assert found[0].seen.sum() == (interactions.known_us < base_us).sum() + len(gone)
    expected, _ = stored.aligned(interactions.items)
    for name in vars(found[1]):
        np.testing.assert_array_equal(getattr(found[1], name), getattr(expected.at(closed_us), name), err_msg=name)
    assert final_state(events_left, start, bucket_us=BUCKET_US).seen.sum() == expected.seen.sum()
    early = events_left[: int((interactions.known_us < base_us - BUCKET_US).sum())]
    assert final_state(early, start, bucket_us=BUCKET_US).seen.sum() == len(early), "nothing of what came later"


def test_a_whole_log_has_nothing_before_it(settings: Settings, tmp_path: Path) -> None:
    refresh_statistics(settings)
    info = write_snapshot(settings, tmp_path)
    assert EARLIER_FILE not in info.sha256
    assert load_snapshot(tmp_path, info.weights).interactions.earlier is None


def test_weights_are_those_of_live_statistics_before_a_refresh_and_after_it(settings: Settings, tmp_path: Path) -> None:
    first = write_snapshot(settings, tmp_path).weights
    assert refresh_statistics(settings).weights == first
    more = [act("f", 3), act("g", 3, "rating", 4.0), act("h", 3, "rating", 4.0)]
    fill(settings, more, datetime.now(UTC), backfill=True)

    info = write_snapshot(settings, tmp_path)

    assert info.events == {"view": 5, "rating": 3}
    assert weights_for(DataShape(info.events, 4.0)) != first, "the data alone would lead to others"
    assert info.weights == refresh_statistics(settings).weights == first


def test_nothing_is_an_empty_snapshot(settings: Settings, tmp_path: Path) -> None:
    info = write_snapshot(settings, tmp_path, until_us=0)

    assert (info.interactions, info.items, info.first_known_us) == (0, 0, None)
    assert len(pd.read_parquet(tmp_path / "interactions")) == 0


def test_who_is_erased_while_a_snapshot_is_written_is_not_in_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(settings, [stamp_event({"user_id": "v", "item_id": "i1", "action": "view"}, now=START, event_id="v")], START)
    write = PartFiles.write

    def erased_meanwhile(parts: PartFiles, rows: pa.Table) -> None:
        if "u" in rows["user_id"].to_pylist():
            with connect(settings, name="test", autocommit=True) as connection:
                connection.execute("DELETE FROM interactions WHERE user_id = 'u'")
                connection.execute("INSERT INTO erasures (user_key, erased_at, receipt) VALUES ('k', now(), '[]')")
        write(parts, rows)

    monkeypatch.setattr(PartFiles, "write", erased_meanwhile)
    info = write_snapshot(settings, tmp_path)
    assert pd.read_parquet(tmp_path / "interactions")["user_id"].tolist() == ["v"]
    assert (info.interactions, sum(info.rows.values())) == (1, 1)
