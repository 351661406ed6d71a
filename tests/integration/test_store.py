"""What serving reads, against the real database, and what it gets when that is away."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import psycopg
import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from features.build.live_statistics import refresh_statistics
from features.catalogue_store import CatalogueStore, ItemCounts
from features.contracts.errors import UnavailableError
from features.contracts.events import MAX_ID, Event, Item, stamp_event
from features.contracts.profiles import UserHistory
from features.contracts.statistics import NEVER_US
from features.contracts.times import to_us
from features.contracts.weights import ActionWeights
from features.db.connection import connect, open_pool
from features.db.gate import enter_gate
from features.db.queries import async_queries
from features.landing.rows import ROWS
from features.landing.write import prepare, write_rows
from features.settings import Settings
from features.store import OVERLAP, Store
from features.text_store import TextStore
from serving.responses import JsonResponse
from tests.support.pools import connected_pool, with_pool
from tests.support.tables import fill

pytestmark = pytest.mark.integration
START = datetime(2026, 1, 1, tzinfo=UTC)
T = TypeVar("T")


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Return settings of a fresh database."""
    return Settings(database_url=SecretStr(database_url))


def ask(settings: Settings, question: Callable[[Store], Awaitable[T]]) -> T:
    """Return what a store answers, in an event loop and a pool of its own."""
    return with_pool(settings, lambda pool: question(Store(pool)))


def ask_nobody(settings: Settings, question: Callable[[Store], Awaitable[T]]) -> T:
    """Return what a store answers whose pool goes on trying in vain."""

    async def asked() -> T:
        pool = open_pool(settings)
        await pool.open()
        try:
            return await question(Store(pool))
        finally:
            await pool.close(timeout=2)

    return asyncio.run(asked())


def act(name: str, minute: int, item_id: str | None, action: str = "view", value: float | None = None) -> Event:
    fields = {"user_id": "u", "item_id": item_id, "action": action, "value": value}
    return stamp_event(fields, now=START + timedelta(minutes=minute), event_id=name)


def test_without_an_encoder_all_that_is_there_waits_for_one(settings: Settings) -> None:
    said = [stamp_event({"type": "item", "item_id": name}, now=START, event_id=name) for name in ("a", "b", "c")]
    fill(settings, [*said, replace(said[0], event_id="gone", deleted=True, partial=True)], START)
    with connect(settings, name="test") as connection:
        connection.execute("DELETE FROM embedding_queue")  # as the embedder does, where nothing could embed

    async def counted() -> tuple[ItemCounts, ItemCounts]:
        async with connected_pool(settings) as pool:
            return await CatalogueStore(pool).counts(None), await CatalogueStore(pool).counts("e")

    without, by_one = asyncio.run(counted())
    assert (without.items, without.embedded, without.waiting, without.oldest_waiting_s is None) == (2, 0, 2, False)
    assert (by_one.waiting, by_one.oldest_waiting_s) == (0, None)


def test_what_waits_for_another_encoder_or_is_deleted_does_not_wait_for_this_one(settings: Settings) -> None:
    said = [stamp_event({"type": "item", "item_id": name}, now=START, event_id=name) for name in ("a", "b", "c", "d")]
    fill(settings, [*said, replace(said[3], event_id="gone", deleted=True, partial=True)], START)
    with connect(settings, name="test") as connection:
        connection.execute(
            "INSERT INTO item_vectors SELECT 'e', item_id, text_hash, '', '', NULL, now() "
            "FROM items WHERE item_id <> 'c'"
        )
        connection.execute("UPDATE items SET title = 'changed' WHERE item_id = 'b'")
        connection.execute("DELETE FROM embedding_queue")
        connection.execute("INSERT INTO embedding_queue (item_id, scanned) SELECT item_id, true FROM items")

    async def read() -> tuple[ItemCounts, list[bool]]:
        async with connected_pool(settings) as pool:
            store = CatalogueStore(pool)
            counts, found = await store.counts("e"), [await store.item(item_id, "e") for item_id in "abc"]
            return counts, [item.embedded for item in found if item is not None]

    counts, embedded = asyncio.run(read())
    assert (counts.items, counts.embedded, counts.waiting) == (3, 1, 2)
    assert embedded == [True, False, False]


def test_a_history_is_newest_first_and_seen_items_are_complete(settings: Settings) -> None:
    landed_at = START + timedelta(minutes=2)
    fill(
        settings,
        [
            act("a", 1, "old"),
            act("b", 2, "rated", "rating", 4.5),
            act("c", 2, "tie"),
            act("d", 3, None, "search"),
            act("e", 5, "ahead"),
        ],
        landed_at,
    )

    history = ask(settings, lambda store: store.history("u", 3))

    assert list(history.event_ids) == ["e", "c", "b"]
    assert list(history.item_ids) == ["ahead", "tie", "rated"]
    assert list(history.actions) == ["view", "view", "rating"]
    assert np.isnan(history.values[0])
    assert history.values[2] == 4.5
    # An event that claims to lie in our future counts from when it was known.
    assert list(history.at_us) == [to_us(landed_at)] * 3
    assert sorted(history.seen_item_ids) == ["ahead", "old", "rated", "tie"]


def test_a_history_comes_from_its_index_alone_and_the_longest_ids_fit_into_it(settings: Settings) -> None:
    rng = np.random.default_rng(0)

    def longest(size: int) -> str:
        """Return characters of four bytes each that nothing compresses."""
        return "".join(chr(0x20000 + int(number)) for number in rng.integers(0xA000, size=size))

    user, acts = longest(MAX_ID), range(200)
    rows = [replace(act(longest(64), minute, longest(MAX_ID), "a" * 32), user_id=user) for minute in acts]
    fill(settings, rows, START + timedelta(days=1))

    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE interactions")
        asked = {"user_id": user, "at_most": 5}
        explained = connection.execute(f"EXPLAIN {async_queries.user_history.sql}", asked).fetchall()

    plan = "\n".join(line for [line] in explained)
    assert "Index Only Scan using interactions_of_user" in plan
    assert list(ask(settings, lambda store: store.history(user, 5)).event_ids) == [row.event_id for row in rows[:-6:-1]]


def test_a_user_never_seen_has_an_empty_history(settings: Settings) -> None:
    assert ask(settings, lambda store: store.history("nobody")) == UserHistory("nobody")


def test_a_digest_tells_whether_a_history_is_what_it_was(settings: Settings) -> None:
    def read() -> tuple[UserHistory, dict[str, int | None]]:
        async def both(store: Store) -> tuple[UserHistory, dict[str, int | None]]:
            return await store.history("u", 3), await store.history_digests(["u", "nobody"], 3)

        return ask(settings, both)

    digests = []
    for events in ([act("a", 1, "i")], [act("b", 2, "i")], [act("c", 2, None, "search")], [act("d", 0, "j")]):
        fill(settings, events, START)
        history, found = read()
        assert found == {"u": history.digest, "nobody": None}
        digests.append(history.digest)

    assert digests[1] == digests[2], "a search is in no history"
    assert len(set(digests)) == 3, "another event, and another item seen long ago"


def test_what_every_request_asks_is_not_planned_each_time(settings: Settings) -> None:
    fill(settings, [act("a", 1, "i"), act("b", 2, "j")], START)
    asked = {
        async_queries.user_history.sql: {"user_id": "u", "at_most": 500},
        async_queries.history_digests.sql: {"user_ids": ["u"], "at_most": 500},
    }
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        for query, values in asked.items():
            for _ in range(12):
                connection.execute(query, values, prepare=True, binary=True)
        planned = connection.execute("SELECT custom_plans, generic_plans FROM pg_prepared_statements").fetchall()
    assert planned == [(5, 7), (5, 7)]


def test_item_states_are_all_or_those_that_changed(settings: Settings) -> None:
    def item(item_id: str, **fields: object) -> Event:
        return stamp_event({"type": "item", "item_id": item_id, **fields}, now=START, event_id=item_id)

    fill(settings, [item("a", title="A", categories=["x", "y"]), item("b", hidden=True)], START)
    fill(settings, [item("c", expires_at="2026-02-01T00:00:00Z"), item("d", stock=0), item("e", stock=1)], START)
    early, late = START, START + timedelta(hours=1)
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        connection.execute("UPDATE items SET changed_at = CASE WHEN item_id < 'c' THEN %s ELSE %s END", (early, late))

    everything = ask(settings, lambda store: store.item_states(None))
    changed = ask(settings, lambda store: store.item_states(early + timedelta(minutes=30)))

    assert [state.item_id for state in everything] == ["a", "b", "c", "d", "e"]
    assert [state.hidden for state in everything] == [False, True, False, True, False]
    came = [state.created_at for state in everything]
    assert all(at is not None for at in came)
    assert came[0] == came[1] < came[2] == came[3]  # type: ignore[operator]  # none is missing
    assert (everything[0].title, everything[0].categories, everything[1].hidden) == ("A", ("x", "y"), True)
    assert [(state.item_id, state.expires_at, state.changed_at) for state in changed] == [
        ("c", datetime(2026, 2, 1, tzinfo=UTC), late),
        ("d", None, late),
        ("e", None, late),
    ]


def test_of_an_item_that_was_only_patched_it_is_told_whether_there_is_something_to_read(settings: Settings) -> None:
    items: list[dict[str, Any]] = [
        {"item_id": "typo", "partial": True, "stock": 3},
        {"item_id": "text", "partial": True, "text": "of a text alone"},
        {"item_id": "bare"},
    ]
    fill(settings, [stamp_event({"type": "item", **one}, now=START, event_id=one["item_id"]) for one in items], START)
    told = {state.item_id: state.told for state in ask(settings, lambda store: store.item_states(None))}
    assert told == {"bare": True, "text": True, "typo": False}


def test_numbers_that_are_longer_than_64_bits_can_be_written_again(settings: Settings) -> None:
    attributes = {"n": 1e30, "m": 2**64, "k": [1e308]}
    item = stamp_event({"type": "item", "item_id": "i", "attributes": attributes}, now=START, event_id="e")
    fill(settings, [item], START)

    async def read() -> Any:
        async with connected_pool(settings) as pool, pool.connection() as connection:
            return await (await connection.execute("SELECT attributes FROM items")).fetchone()

    [found] = asyncio.run(read())
    assert json.loads(bytes(JsonResponse(found).body)) == attributes


def test_what_is_committed_later_has_changed_later_however_long_it_took(settings: Settings) -> None:
    def item(item_id: str) -> Event:
        return stamp_event({"type": "item", "item_id": item_id}, now=START, event_id=item_id)

    with connect(settings, name="import") as slow:
        prepare(slow)
        landed_at = enter_gate(slow)
        fill(settings, [item("quick")], datetime.now(UTC))
        [quick] = ask(settings, lambda store: store.item_states(None))
        write_rows(slow, {Item: [ROWS[Item](item("slow"), None, "test", 0, 0)]}, landed_at)

    asked_again = quick.changed_at + OVERLAP + timedelta(microseconds=1)  # what `item_states` takes off
    assert [state.item_id for state in ask(settings, lambda store: store.item_states(asked_again))] == ["slow"]


def test_item_statistics_are_each_items_newest_row_after_an_edge(settings: Settings) -> None:
    before = ask(settings, lambda store: store.item_statistics(NEVER_US))
    fill(settings, [act("a", 0, "one"), act("b", 1, "two")], START + timedelta(minutes=1))
    fill(settings, [act("c", 20, "one", "rating", 4.0), act("d", 20, "one", "dislike")], START + timedelta(minutes=20))
    done = refresh_statistics(settings, until=START + timedelta(hours=1))

    everything = ask(settings, lambda store: store.item_statistics(NEVER_US))
    newer = ask(settings, lambda store: store.item_statistics(to_us(START + timedelta(minutes=15))))

    assert (list(before.item_ids), before.closed_at_us, before.state.decayed.shape) == ([], NEVER_US, (0, 8))
    assert everything.closed_at_us == newer.closed_at_us == to_us(START + timedelta(hours=1))
    assert list(everything.item_ids) == ["one", "two"]
    assert everything.state.count.tolist() == [2, 1]
    assert everything.state.seen.tolist() == [3, 1]
    assert everything.state.disliked.tolist() == everything.state.strong.tolist() == [1, 0]
    assert everything.state.rating_count.tolist() == [1, 0]
    assert everything.state.rating_sum.tolist() == [np.float32(0.8), 0.0]
    assert everything.state.last_at_us.tolist() == [to_us(START + timedelta(minutes=m)) for m in (30, 15)]
    assert everything.state.first_at_us.tolist() == [to_us(START + timedelta(minutes=15))] * 2
    assert ActionWeights.from_json(everything.weights) == done.weights
    assert list(newer.item_ids) == ["one"]


def test_rows_of_all_items_are_decoded_in_parts_and_the_event_loop_turns_between_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a", "b", "c", "d", "e")
    items = [stamp_event({"type": "item", "item_id": name}, now=START, event_id=f"item {name}") for name in names]
    fill(settings, [*items, *(act(name, 0, name) for name in names)], START)
    refresh_statistics(settings)
    monkeypatch.setattr("features.store.PART", 2)
    decoded: list[int] = []
    turn = 0

    async def turning() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def noting(_: object) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        def row(values: Sequence[Any]) -> tuple[Any, ...]:
            decoded.append(turn)
            return tuple(values)

        return row

    async def watched() -> tuple[list[str], list[str]]:
        async with connected_pool(settings) as pool:
            for connection in [await pool.getconn() for _ in range(pool.min_size)]:
                connection.row_factory = noting
                await pool.putconn(connection)
            loop = asyncio.create_task(turning())
            states, statistics = await Store(pool).item_states(None), await Store(pool).item_statistics(NEVER_US)
            loop.cancel()
        return [state.item_id for state in states], list(statistics.item_ids)

    assert asyncio.run(watched()) == (list(names), list(names))
    assert len(decoded) >= 2 * len(names)
    assert max(Counter(decoded).values()) == 2


def test_popular_items_come_without_and_with_statistics_and_only_what_may_be_shown(settings: Settings) -> None:
    gone: dict[str, dict[str, object]] = {
        "c": {"hidden": True},
        "d": {"stock": 0},
        "e": {"expires_at": "2026-01-01T00:00:00Z"},
        "f": {"published_at": "2999-01-01T00:00:00Z"},
    }
    items = [
        stamp_event({"type": "item", "item_id": item, **why}, now=START, event_id=item) for item, why in gone.items()
    ]
    events = [
        replace(act(f"{item}{n}", n, item), user_id=f"u{n}")
        for item, times in (("a", 1), ("b", 3), ("c", 9), ("d", 9), ("e", 9), ("f", 9))
        for n in range(times)
    ]
    fill(settings, [*items, *events], START + timedelta(minutes=10))

    counted = ask(settings, lambda store: store.popular_items(5))
    refresh_statistics(settings)
    decayed = ask(settings, lambda store: store.popular_items(5))

    assert counted == decayed == ["b", "a"]


def test_whose_texts_an_encoder_embedded_is_read_in_pages(settings: Settings) -> None:
    embedded = [("one", item_id) for item_id in ("B", "a", "b", "\u00e4")] + [("another", "aa")]

    async def asked() -> list[list[str]]:
        async with connected_pool(settings) as pool:
            store, pages = TextStore(pool), [[""]]
            while pages[-1]:
                pages.append(await store.ids("one", pages[-1][-1], 3))
            return pages[1:]

    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        connection.cursor().executemany(
            "INSERT INTO item_vectors VALUES (%s, %s, gen_random_uuid(), '', '', NULL, now())", embedded
        )
    assert asyncio.run(asked()) == [["B", "a", "b"], ["\u00e4"], []]


def test_postgres_away_is_told_within_seconds(settings: Settings) -> None:
    away = Settings(database_url=SecretStr("postgresql://marquee:x@127.0.0.1:1/marquee"))
    questions: list[Callable[[Store], Awaitable[object]]] = [
        lambda store: store.ping(),
        lambda store: store.history("u"),
        lambda store: store.item_states(None),
        lambda store: store.item_statistics(0),
        lambda store: store.popular_items(3),
    ]

    assert ask(settings, lambda store: store.ping()) is None
    for question in questions:
        started = time.monotonic()
        with pytest.raises(UnavailableError):
            ask_nobody(away, question)
        assert time.monotonic() - started < 5


def test_sessions_that_the_server_ended_are_replaced_before_a_request_meets_them(settings: Settings) -> None:
    fill(settings, [act("a", 1, "i")], START + timedelta(minutes=2))
    sessions = "FROM pg_stat_activity WHERE application_name = 'marquee-serving' AND datname = current_database()"

    async def asked(store: Store) -> list[UserHistory]:
        await store.ping()
        with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
            ended = connection.execute(f"SELECT pg_terminate_backend(pid, 10000) {sessions}").rowcount
            assert ended >= 1
        return [await store.history("u", 10) for _ in range(ended + 1)]

    assert all(history.item_ids == ["i"] for history in ask(settings, asked))
