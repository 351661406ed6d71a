"""Histories for benchmarks, straight into Postgres: what landing would have stored, without its pace."""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv

from features.settings import Settings

AT_ONCE: Final = 500_000
_COPY: Final = """
COPY interactions (event_id, user_id, item_id, action, value, occurred_at, known_at, landed_at, schema_version, context,
    topic, partition, kafka_offset) FROM STDIN (FORMAT csv, HEADER)
"""
_SEEN: Final = """
INSERT INTO user_seen SELECT user_id, array_agg(DISTINCT item_id) FROM interactions GROUP BY user_id
ON CONFLICT DO NOTHING
"""
_ITEMS: Final = """
INSERT INTO items (item_id, event_id, title, text, categories, attributes, hidden, occurred_at, changed_at)
SELECT item_id, 'filled-' || item_id, 'Item ' || item_id, '', ARRAY['g' || number %% 100], '{}', false, at, at
FROM unnest(%s::text[]) WITH ORDINALITY AS given (item_id, number),
    LATERAL (SELECT now() - interval '1 hour') AS time (at)
"""
"""An hour ago: servers read what changed within the last two minutes again each second, by whoever imports in bulk."""
_INDEX: Final = "SELECT indexdef FROM pg_indexes WHERE indexname = 'interactions_of_user'"


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """Who did what when: internal numbers (n,) of users and items, and their ids' beginnings.

    Attributes
    ----------
    at_us
        int64 (n,), microseconds since 1970 UTC, ascending.
    """

    user: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    at_us: npt.NDArray[np.int64]
    user_prefix: str = ""
    item_prefix: str = ""

    def __len__(self) -> int:
        """Return the number of interactions."""
        return len(self.user)


def made_up_histories(n_users: int, n_items: int, n_events: int, until_us: int, seed: int = 0) -> Histories:
    """Return as many events for each user, by tastes as `recommend.made_up` has them, over half a year."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(n_users), -(-n_events // n_users))[:n_events]
    rank = np.minimum((n_items / 100 * rng.pareto(0.8, n_events)).astype(np.int64), n_items // 100 - 1)
    item = rank * 100 + np.where(rng.random(n_events) < 0.7, user % 100, rng.integers(100, size=n_events))
    shuffled = rng.permutation(n_events)
    at_us = until_us - np.sort(rng.integers(180 * 86_400_000_000, size=n_events))[::-1]
    return Histories(user[shuffled], item[shuffled], at_us)


def fill(settings: Settings, histories: Histories, item_ids: list[str]) -> None:
    """Store histories and items, indexes and what the planner must know included; the tables are empty before."""
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute(_ITEMS, [item_ids])
        [definition] = connection.execute(_INDEX).fetchone() or ("",)
        connection.execute("DROP INDEX interactions_of_user")
        for start in range(0, len(histories), AT_ONCE):
            with connection.cursor().copy(_COPY) as copy:
                copy.write(_lines(histories, start, min(start + AT_ONCE, len(histories))))
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute("SET work_mem = '256MB'")
        connection.execute(definition)
        connection.execute(_SEEN)
        connection.execute("VACUUM ANALYZE interactions, user_seen, items")


def _lines(histories: Histories, start: int, end: int) -> bytes:
    """Return rows as CSV; event ids ascend, so that their index grows at its end."""
    size = end - start
    at = pa.array(histories.at_us[start:end], pa.timestamp("us", "UTC"))

    def ids(prefix: str, numbers: npt.NDArray[np.int64]) -> pa.Array:
        return pa.array(np.char.add(prefix, numbers.astype(str)) if prefix else numbers.astype(str))

    table = pa.table(
        {
            "event_id": pa.array(np.char.add("filled-", np.char.zfill(np.arange(start, end).astype(str), 9))),
            "user_id": ids(histories.user_prefix, histories.user[start:end]),
            "item_id": ids(histories.item_prefix, histories.item[start:end]),
            "action": pa.array(["view"] * size),
            "value": pa.array(np.ones(size)),
            "occurred_at": at,
            "known_at": at,
            "landed_at": at,
            "schema_version": pa.array(np.ones(size, np.int16)),
            "context": pa.array(["{}"] * size),
            "topic": pa.array(["filled"] * size),
            "partition": pa.array(np.zeros(size, np.int32)),
            "kafka_offset": pa.array(np.arange(start, end)),
        }
    )
    raw = io.BytesIO()
    pa_csv.write_csv(table, raw)
    return raw.getvalue()
