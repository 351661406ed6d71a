"""Statistics rows are, to the bit, what a replay of the same events gives: however they came in."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from alembic import command
from msgspec import structs
from psycopg import sql
from pydantic import SecretStr

from features.build import live_statistics
from features.build.live_statistics import refresh_statistics
from features.build.progress import Progress, read_progress
from features.contracts.events import Event, Interaction, stamp_event
from features.contracts.found_weights import DataShape
from features.contracts.ids import IdMap
from features.contracts.statistics import BUCKET_US, StatisticEvents, StatisticsState, weight_once
from features.contracts.times import to_us
from features.contracts.weights import ActionWeights
from features.contracts.weights_file import SaidWeights
from features.db.connection import Connection, connect
from features.db.gate import enter_gate
from features.db.migrate import alembic_config, migrate
from features.db.queries import queries
from features.db.statistics_rows import row_of
from features.settings import Settings
from features.store import Store
from tests.support.pools import connected_pool
from tests.support.tables import fill

pytestmark = pytest.mark.integration
START = datetime(2026, 1, 1, tzinfo=UTC)
StatisticsRow = tuple[Any, ...]


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Return settings of a fresh database."""
    return Settings(database_url=SecretStr(database_url))


def events_of(seed: int, count: int, *, ratings: bool = False) -> list[Event]:
    """Return events over three days, in order of time, with actions of several weights."""
    random = np.random.default_rng(seed)
    minutes = np.sort(random.uniform(0, 3 * 24 * 60, count))
    actions = ["view", "watch", "purchase", "dislike", "search_like", *(["rating"] if ratings else [])]
    return [
        stamp_event(
            {
                "user_id": f"u{random.integers(30)}",
                "item_id": f"i{random.integers(25)}",
                "action": str(random.choice(actions)),
                "value": float(random.uniform(0, 5)),
            },
            now=START + timedelta(minutes=float(minute)),
            event_id=f"{seed}-{number}-{random.integers(1 << 30)}",
        )
        for number, minute in enumerate(minutes)
    ]


def act_at(hour: int, event_id: str) -> Event:
    """Return a purchase, always of the same user and item."""
    fields = {"user_id": "u", "item_id": "i", "action": "purchase"}
    return stamp_event(fields, now=START + timedelta(hours=hour), event_id=event_id)


def acts(*actions: str, first: int = 0) -> list[Event]:
    """Return an event a minute, of few users and items."""
    return [
        stamp_event(
            {"user_id": f"u{number % 3}", "item_id": f"i{number % 5}", "action": action},
            now=START + timedelta(minutes=number),
            event_id=f"act-{number:03}",
        )
        for number, action in enumerate(actions, start=first)
    ]


def replayed(known: Sequence[tuple[datetime, Event]], until: datetime, weights: ActionWeights) -> list[StatisticsRow]:
    """Return the rows that a single pass over all events gives."""
    interactions = [(to_us(at), event) for at, event in known if isinstance(event, Interaction) and at < until]
    interactions.sort(key=lambda pair: (pair[0], pair[1].event_id))
    ids = IdMap(sorted({str(event.item_id) for _, event in interactions}))
    actions = [event.action for _, event in interactions]
    values = [np.nan if event.value is None else event.value for _, event in interactions]
    done = [(event.user_id, event.item_id, event.action) for _, event in interactions]
    repeat = np.array([what in done[:number] for number, what in enumerate(done)])
    assert repeat.any()
    events = StatisticEvents(
        item=ids.index([str(event.item_id) for _, event in interactions]),
        weight=weight_once(weights.weigh(actions, values), repeat),
        strong=weights.strong(actions),
        rating=weights.ratings(actions, values),
        known_us=np.asarray([at for at, _ in interactions]),
    )
    closes = events.closes_us(BUCKET_US)
    state, rows = StatisticsState.empty(len(ids)), []
    for edge in np.unique(closes).tolist():
        start, end = np.searchsorted(closes, [edge, edge + 1]).tolist()
        touched = state.add(events[start:end], BUCKET_US)
        rows += [row_of(ids.external(np.asarray([at]))[0], state, at) for at in touched.tolist()]
    return sorted(rows)


def stored(settings: Settings) -> list[StatisticsRow]:
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        query = """SELECT item_id, closed_at, count, decayed, first_at, seen, disliked, strong, rating_count, rating_sum
            FROM item_statistics"""
        return sorted(connection.execute(query).fetchall())


def test_one_refresh_equals_the_replay(settings: Settings) -> None:
    events = events_of(1, 600)
    fill(settings, events, START + timedelta(days=3), backfill=True)

    until = START + timedelta(days=2)
    done = refresh_statistics(settings, until=until)

    rows = stored(settings)
    assert done.closed_at == until
    assert done.rows == len(rows) > 100
    assert rows == replayed([(event.occurred_at, event) for event in events], until, ActionWeights())


def test_many_refreshes_equal_the_replay(settings: Settings) -> None:
    events = events_of(2, 400)
    known = []
    for first in range(0, len(events), 20):
        landed_together = events[first : first + 20]
        landed_at = landed_together[-1].occurred_at
        fill(settings, landed_together, landed_at)
        known += [(landed_at, event) for event in landed_together]
    for hours in (1, 2, 2, 17, 40, 41, 72):
        refresh_statistics(settings, until=START + timedelta(hours=hours))

    assert stored(settings) == replayed(known, START + timedelta(hours=72), ActionWeights())


def test_a_late_backfill_rebuilds_its_items(settings: Settings) -> None:
    events, late = events_of(3, 300), events_of(4, 20)
    fill(settings, events, datetime.now(UTC), backfill=True)
    until = START + timedelta(days=2)
    refresh_statistics(settings, until=until)
    fill(settings, late, datetime.now(UTC), backfill=True)

    done = refresh_statistics(settings, until=until)
    again = refresh_statistics(settings, until=until)

    assert done.items_rebuilt > 0
    assert again.rows == again.items_rebuilt == 0
    known = [(event.occurred_at, event) for event in (*events, *late)]
    assert stored(settings) == replayed(known, until, ActionWeights())


def test_history_that_lands_while_a_refresh_reads_is_left_to_the_next(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, meanwhile = events_of(13, 200), [structs.replace(act_at(5, "new"), item_id="new"), *events_of(14, 60)]
    fill(settings, events, datetime.now(UTC), backfill=True)
    until = START + timedelta(days=2)

    def number(item_ids: Sequence[str]) -> IdMap:
        """Number the items that were found, after others have come."""
        fill(settings, meanwhile, datetime.now(UTC), backfill=True)
        return IdMap(item_ids)

    with monkeypatch.context() as patch:
        patch.setattr(live_statistics, "IdMap", number)
        refresh_statistics(settings, until=until)
    known = [(event.occurred_at, event) for event in events]
    assert stored(settings) == replayed(known, until, ActionWeights())

    refresh_statistics(settings, until=until)

    known += [(event.occurred_at, event) for event in meanwhile]
    assert stored(settings) == replayed(known, until, ActionWeights())


def landing_meanwhile(settings: Settings, event: Event, until: datetime) -> None:
    """Refresh while an import commits an event of history, after it is settled what is read."""

    def read_after_it_came(connection: Connection) -> Progress:
        fill(settings, [event], datetime.now(UTC), backfill=True)
        return read_progress(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_statistics, "read_progress", read_after_it_came)
        refresh_statistics(settings, until=until)


def test_what_lands_while_a_refresh_reads_makes_no_repeat_of_what_it_reads(settings: Settings) -> None:
    other, first, earlier = structs.replace(act_at(9, "b"), user_id="other"), act_at(30, "c"), act_at(2, "a")
    fill(settings, [other, first], datetime.now(UTC), backfill=True)
    refresh_statistics(settings, until=START + timedelta(hours=10))

    landing_meanwhile(settings, earlier, START + timedelta(hours=40))
    assert [row[2] for row in stored(settings)] == [1, 2]
    refresh_statistics(settings, until=START + timedelta(hours=40))
    assert [row[2] for row in stored(settings)] == [1, 2, 2]


def test_a_like_stays_counted_that_lands_while_what_retention_took_is_added_to(settings: Settings) -> None:
    until = START + timedelta(hours=40)
    fill(settings, [structs.replace(act_at(9, "c"), user_id="other")], datetime.now(UTC), backfill=True)
    refresh_statistics(settings, until=until)
    expire(settings, START + timedelta(hours=10))
    fill(settings, [act_at(5, "b")], datetime.now(UTC), backfill=True)

    landing_meanwhile(settings, act_at(2, "a"), until)
    refresh_statistics(settings, until=until)

    assert [(row[2], row[5]) for row in stored(settings)] == [(2, 3)], "two users like it, of three events"


def set_clock(settings: Settings, ahead: timedelta) -> None:
    """Let the database's clock run ahead of the machine's, for connections that are made from now on."""
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        connection.execute(
            sql.SQL(
                "CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE "
                "RETURN pg_catalog.clock_timestamp() + {}"
            ).format(ahead)
        )
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET search_path = public, pg_catalog").format(name))


def land_now(settings: Settings, event: Event) -> datetime:
    """Return when an event landed, by the gate's word."""
    with connect(settings, name="test") as connection:
        landed_at = enter_gate(connection)
    fill(settings, [event], landed_at)
    return landed_at


def test_what_lands_after_the_clock_was_set_back_is_counted(settings: Settings) -> None:
    set_clock(settings, timedelta(hours=3))
    first = land_now(settings, act_at(1, "before"))
    set_clock(settings, timedelta(hours=4))
    closed_at = refresh_statistics(settings).closed_at
    assert closed_at > first

    set_clock(settings, timedelta(hours=2))
    second = land_now(settings, act_at(2, "after"))
    refresh_statistics(settings)
    set_clock(settings, timedelta(hours=6))
    refresh_statistics(settings)

    assert second >= closed_at
    known = [(first, act_at(1, "before")), (second, act_at(2, "after"))]
    assert stored(settings) == replayed(known, second + timedelta(hours=1), ActionWeights())


def test_a_late_event_takes_the_place_of_the_one_that_came_first(settings: Settings) -> None:
    first, second, late = (act_at(hour, name) for hour, name in ((9, "b"), (30, "c"), (2, "a")))
    fill(settings, [first, second], datetime.now(UTC), backfill=True)
    for hours in (10, 40):  # The second's refresh does not read the first again.
        refresh_statistics(settings, until=START + timedelta(hours=hours))
    assert [(row[2], row[5]) for row in stored(settings)] == [(1, 1), (1, 2)]
    fill(settings, [late], datetime.now(UTC), backfill=True)

    refresh_statistics(settings, until=START + timedelta(hours=40))

    rows = stored(settings)
    known = [(event.occurred_at, event) for event in (late, first, second)]
    assert rows == replayed(known, START + timedelta(hours=40), ActionWeights())
    assert [(row[1] - START, row[2], row[5]) for row in rows] == [
        (timedelta(hours=hour, minutes=15), 1, seen) for hour, seen in ((2, 1), (9, 2), (30, 3))
    ]


def act(number: int, value: float) -> Event:
    """Return a rating of an item of its own."""
    said = {"user_id": "u", "item_id": f"i{number}", "action": "rating", "value": value}
    return stamp_event(said, now=START, event_id=f"n{number}")


def test_larger_ratings_move_all_rows_to_their_scale_and_one_alone_does_not(settings: Settings) -> None:
    events = events_of(5, 600, ratings=True)
    until = START + timedelta(days=3)
    fill(settings, events, datetime.now(UTC), backfill=True)
    refresh_statistics(settings, until=until)
    values = [1e300, *[9.0] * 9]
    nines = [act(number, value) for number, value in enumerate(values)]
    fill(settings, nines[:1], datetime.now(UTC), backfill=True)
    assert refresh_statistics(settings, until=until).weights.rating_scale == 5.0, "anyone may send a rating like that"
    fill(settings, nines[1:], datetime.now(UTC), backfill=True)

    done = refresh_statistics(settings, until=until)

    assert done.weights.rating_scale == 10.0
    known = [(event.occurred_at, event) for event in (*events, *nines)]
    assert stored(settings) == replayed(known, until, done.weights)


def test_rare_actions_weigh_more_and_all_rows_move_with_them(settings: Settings) -> None:
    before, looks = acts(*["view"] * 20, *["purchase"] * 20), acts(*["view"] * 160, first=40)
    fill(settings, before, datetime.now(UTC), backfill=True)
    until = START + timedelta(days=1)
    assert refresh_statistics(settings, until=until).weights == ActionWeights()
    fill(settings, looks, datetime.now(UTC), backfill=True)

    done = refresh_statistics(settings, until=until)

    assert done.weights.actions["purchase"].base == 4.0, "nine looks to a purchase, of all rows so far"
    known = [(event.occurred_at, event) for event in (*before, *looks)]
    assert stored(settings) == replayed(known, until, done.weights)
    with connect(settings, name="test") as connection:
        assert read_progress(connection).shape == DataShape({"view": 180, "purchase": 20})


def tell(settings: Settings, weights: ActionWeights) -> None:
    """Say what the version that serves was trained by, as its server does."""

    async def told() -> None:
        async with connected_pool(settings) as pool:
            await Store(pool).tell_weights(weights.to_json())

    asyncio.run(told())


def test_rows_go_by_the_weights_of_what_serves_until_another_version_does(settings: Settings) -> None:
    before, looks = acts(*["view"] * 20, *["purchase"] * 20), acts(*["view"] * 160, first=40)
    fill(settings, before, datetime.now(UTC), backfill=True)
    until, served = START + timedelta(days=1), ActionWeights()
    assert refresh_statistics(settings, until=until).weights == served
    tell(settings, served)
    fill(settings, looks, datetime.now(UTC), backfill=True)

    assert refresh_statistics(settings, until=until).weights == served, (
        "purchases have become rare; none was trained so"
    )
    with connect(settings, name="test") as connection:
        found = read_progress(connection).weighed(connection, datetime.now(UTC), SaidWeights())[1]
    assert found.actions["purchase"].base == 4.0, "what a training takes now"
    for _ in range(2):
        tell(settings, found)
    done = refresh_statistics(settings, until=until)

    assert done.weights == found
    known = [(event.occurred_at, event) for event in (*before, *looks)]
    assert stored(settings) == replayed(known, until, found)


def test_a_file_of_weights_moves_all_rows(settings: Settings, tmp_path: Path) -> None:
    events = acts(*["view", "purchase"] * 20)
    fill(settings, events, datetime.now(UTC), backfill=True)
    until = START + timedelta(days=1)
    refresh_statistics(settings, until=until)
    said = tmp_path / "weights.yaml"
    said.write_text("actions: {purchase: {rule: constant, base: 7}}\n")

    done = refresh_statistics(settings.model_copy(update={"action_weights": said}), until=until)

    assert done.weights.actions["purchase"].base == 7.0
    assert stored(settings) == replayed([(event.occurred_at, event) for event in events], until, done.weights)


def test_a_refresh_never_goes_back(settings: Settings) -> None:
    fill(settings, events_of(6, 50), datetime.now(UTC), backfill=True)
    ahead = refresh_statistics(settings, until=START + timedelta(days=3))
    rows = stored(settings)

    behind = refresh_statistics(settings, until=START + timedelta(days=1))

    assert behind.closed_at == ahead.closed_at
    assert stored(settings) == rows


def test_rows_of_an_older_schema_are_computed_anew(settings: Settings) -> None:
    events = events_of(7, 200, ratings=True)
    fill(settings, events, datetime.now(UTC), backfill=True)
    until = START + timedelta(days=3)
    refresh_statistics(settings, until=until)
    command.downgrade(alembic_config(settings), "0004")
    migrate(settings)
    assert {row[5:] for row in stored(settings)} == {(0, 0, 0, 0, 0.0)}

    done = refresh_statistics(settings, until=until)

    assert stored(settings) == replayed([(event.occurred_at, event) for event in events], until, done.weights)


def expire(settings: Settings, known_before: datetime) -> None:
    """Delete what became known before an instant, as retention does."""
    with connect(settings, name="test") as connection:
        deleted = "DELETE FROM interactions WHERE known_at < %s RETURNING known_at"
        gone = connection.execute(deleted, [known_before]).fetchall()
        queries.gone_until(connection, known_at=max(gone)[0])


def newest(rows: Sequence[StatisticsRow]) -> dict[str, StatisticsRow]:
    return {row[0]: row[1:] for row in sorted(rows)}


def of_others(events: Sequence[Event], since: datetime = START) -> list[Event]:
    """Return the events, those since an instant as of users who did nothing else: no repeats of what came before."""
    return [
        structs.replace(event, user_id=f"other-{event.user_id}")
        if isinstance(event, Interaction) and event.occurred_at >= since
        else event
        for event in events
    ]


def test_what_retention_took_stays_counted_when_late_events_come(settings: Settings) -> None:
    half = START + timedelta(days=1.5)
    events, late = of_others(events_of(8, 400), half), of_others(of_others(events_of(9, 60)), half)
    fill(settings, events, datetime.now(UTC), backfill=True)
    until = START + timedelta(days=3)
    refresh_statistics(settings, until=until)
    expire(settings, half)
    fill(settings, late, datetime.now(UTC), backfill=True)

    done = refresh_statistics(settings, until=until)
    again = refresh_statistics(settings, until=until)

    known = [(event.occurred_at, event) for event in (*events, *late)]
    found, expected = newest(stored(settings)), newest(replayed(known, until, ActionWeights()))
    assert done.items_rebuilt > 20
    assert again.rows == again.items_rebuilt == 0
    assert found.keys() == expected.keys()
    for item, row in expected.items():
        assert (found[item][:2], found[item][3:]) == (row[:2], row[3:])
        np.testing.assert_allclose(found[item][2], row[2], rtol=1e-9)


def test_other_weights_leave_what_retention_took_as_it_was_counted(settings: Settings, tmp_path: Path) -> None:
    half, until = START + timedelta(days=1.5), START + timedelta(days=3)
    events = of_others(events_of(8, 400), half)
    fill(settings, events, datetime.now(UTC), backfill=True)
    before = refresh_statistics(settings, until=until).weights
    counted = newest(stored(settings))
    expire(settings, half)
    said = tmp_path / "weights.yaml"
    said.write_text("actions: {purchase: {rule: constant, base: 7}}\n")
    weighed = settings.model_copy(update={"action_weights": said})

    after = refresh_statistics(weighed, until=until).weights

    found = newest(stored(settings))
    sevens = newest(replayed([(event.occurred_at, event) for event in events], until, after))
    assert before != after
    assert [row[3:6] for row in found.values()] == [row[3:6] for row in counted.values()]
    long = [sum(float(row[2][-1]) for row in rows.values()) for rows in (counted, found, sevens)]
    assert long[0] + 10 < long[1] < long[2] - 10, "the later half by the new weights"


def test_rows_are_the_same_however_few_events_are_held_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, late = events_of(10, 300), events_of(11, 20)
    monkeypatch.setattr(live_statistics, "EVENTS_AT_ONCE", 7)
    until = START + timedelta(days=2)
    for some in (events, late):
        fill(settings, some, datetime.now(UTC), backfill=True)
        refresh_statistics(settings, until=until)

    known = [(event.occurred_at, event) for event in (*events, *late)]
    assert stored(settings) == replayed(known, until, ActionWeights())


def test_who_reads_statistics_does_not_wait_for_their_rebuild(settings: Settings) -> None:
    fill(settings, events_of(12, 50), datetime.now(UTC), backfill=True)
    refresh_statistics(settings, until=START + timedelta(days=3))
    rows = stored(settings)
    with connect(settings, name="test") as connection, connection.transaction(force_rollback=True):
        queries.lock_statistics(connection)
        queries.forget_statistics(connection, after=START)
        with psycopg.connect(settings.database_url.get_secret_value(), options="-c lock_timeout=1s") as reader:
            assert reader.execute("SELECT count(*) FROM item_statistics").fetchone() == (len(rows),)


def test_a_range_computes_its_items_anew_and_leaves_the_others(settings: Settings) -> None:
    events = events_of(7, 300)
    fill(settings, events, START + timedelta(days=3), backfill=True)
    until = START + timedelta(days=4)
    refresh_statistics(settings, until=until)
    before = stored(settings)
    morning = START, START + timedelta(hours=3)
    touched = {event.item_id for event in events if isinstance(event, Interaction) and event.occurred_at < morning[1]}
    assert 0 < len(touched) < len({row[0] for row in before})
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        connection.execute("UPDATE item_statistics SET count = count + 1000")
    anew = refresh_statistics(settings, until=until, anew=morning)
    assert anew.items_rebuilt == len(touched)
    after = stored(settings)
    assert [row for row in after if row[0] in touched] == [row for row in before if row[0] in touched]
    assert all(row[2] >= 1000 for row in after if row[0] not in touched)
