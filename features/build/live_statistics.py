"""Item statistics of the live tables, advanced bucket by bucket: the rows that serving reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from features.contracts.found_weights import DataShape, weights_for
from features.contracts.ids import IdMap
from features.contracts.statistics import BUCKET_US, NEVER_US, StatisticsState, bucket_edge
from features.contracts.times import EPOCH, from_us, to_us
from features.contracts.weights import ActionWeights
from features.db.connection import Connection, connect, database_errors
from features.db.gate import landed_before
from features.db.queries import queries
from features.settings import Settings

_TYPES: Final = ("text", "timestamptz", "int8", "float8[]", "timestamptz")


@dataclass(frozen=True, slots=True)
class Refresh:
    """What one refresh did."""

    closed_at: datetime
    rows: int
    items_rebuilt: int
    weights: ActionWeights


@dataclass(frozen=True, slots=True)
class _Progress:
    closed_at: datetime = EPOCH
    read_until: datetime = EPOCH
    largest_rating: float = 0.0
    weights: ActionWeights | None = None


@dataclass(frozen=True, slots=True)
class _Events:
    """Events in the order in which they became known: internal item index, weight, microseconds."""

    ids: IdMap
    item: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]
    known_us: npt.NDArray[np.int64]


def refresh_statistics(settings: Settings, *, until: datetime | None = None) -> Refresh:
    """Return what was added after advancing the rows to the newest closed bucket; safe to repeat.

    Rows of past buckets never change, with two exceptions that rebuild items from all their events: events that
    came late (a backfill whose `known_at` lies in a closed bucket), and new weights (a larger rating appeared, so the
    data follow another scale), which rebuild all.

    Parameters
    ----------
    settings
        Where Postgres is.
    until
        The moment that counts as now; the database's clock by default.

    Raises
    ------
    UnavailableError
        If Postgres is away; nothing was changed.
    """
    connection = connect(settings, name="statistics", statement_timeout_s=600)
    with connection, database_errors("refreshing item statistics"):
        read_until = landed_before(connection)
        with connection.transaction():
            return _refresh(connection, read_until, min(until or read_until, read_until))


def _refresh(connection: Connection, read_until: datetime, until: datetime) -> Refresh:
    queries.lock_statistics(connection)
    before = _progress(connection)
    largest = queries.largest_rating(connection, since=before.read_until, until=read_until)
    largest = max(before.largest_rating, largest)
    weights = weights_for(DataShape(largest_rating=largest))
    closed_at = max(before.closed_at, from_us(bucket_edge(to_us(until))))
    if weights != before.weights:
        queries.forget_all_statistics(connection)
        before = _Progress()
    late = [
        row[0]
        for row in queries.late_items(
            connection, read_since=before.read_until, read_until=read_until, closed_at=before.closed_at
        )
    ]
    rows = _rebuild(connection, late, before.closed_at, weights)
    rows += _advance(connection, before.closed_at, closed_at, weights)
    queries.keep_progress(
        connection,
        closed_at=closed_at,
        read_until=read_until,
        largest_rating=largest,
        weights=msgspec.json.encode(weights.to_json()).decode(),
    )
    return Refresh(closed_at, rows, len(late), weights)


def _progress(connection: Connection) -> _Progress:
    row = queries.statistics_progress(connection)
    if row is None:
        return _Progress()
    closed_at, read_until, largest_rating, weights = row
    return _Progress(closed_at, read_until, largest_rating, ActionWeights.from_json(weights))


def _rebuild(connection: Connection, late: Sequence[str], closed_at: datetime, weights: ActionWeights) -> int:
    """Return how many rows the late items have after being computed anew up to the edge reached so far."""
    if not late:
        return 0
    queries.forget_item_statistics(connection, item_ids=late)
    events = _weigh(queries.events_of_items(connection, item_ids=late, known_until=closed_at), weights)
    return _write(connection, events, StatisticsState.empty(len(events.ids)))


def _advance(connection: Connection, closed_at: datetime, until: datetime, weights: ActionWeights) -> int:
    """Return how many rows the buckets between two edges added."""
    events = _weigh(queries.events_between(connection, known_since=closed_at, known_until=until), weights)
    return _write(connection, events, _stored_state(connection, events.ids))


def _weigh(rows: Iterator[tuple[Any, ...]], weights: ActionWeights) -> _Events:
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    item_ids, actions, values, known_at = columns
    ids = IdMap(sorted(set(item_ids)))
    known_us = np.fromiter((to_us(at) for at in known_at), dtype=np.int64, count=len(known_at))
    return _Events(ids, ids.index(item_ids), weights.weigh(actions, np.asarray(values, dtype=np.float64)), known_us)


def _stored_state(connection: Connection, ids: IdMap) -> StatisticsState:
    """Return the state of some items as their newest rows hold it."""
    state = StatisticsState.empty(len(ids))
    external = ids.external(np.arange(len(ids)))
    for item_id, closed_at, count, decayed, first_at in queries.newest_states(connection, item_ids=external):
        at = ids.index([item_id])[0]
        state.count[at] = count
        state.decayed[at] = decayed
        state.first_at_us[at] = to_us(first_at)
        state.last_at_us[at] = to_us(closed_at)
    return state


def _write(connection: Connection, events: _Events, state: StatisticsState) -> int:
    """Return how many rows were added after taking in the events, one row for each item of each bucket."""
    closes_us = events.known_us - events.known_us % BUCKET_US + BUCKET_US
    starts = np.flatnonzero(np.diff(closes_us, prepend=NEVER_US))
    ends = np.append(starts, len(closes_us))[1:]
    external = events.ids.external(np.arange(len(events.ids)))
    written = 0
    with connection.cursor() as cursor, cursor.copy(queries.copy_item_statistics.sql) as copy:
        copy.set_types(_TYPES)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            edge_us = int(closes_us[start])
            touched = state.add(edge_us, events.item[start:end], events.weight[start:end])
            edge = from_us(edge_us)
            for at in touched.tolist():
                first_at = from_us(int(state.first_at_us[at]))
                copy.write_row((external[at], edge, int(state.count[at]), state.decayed[at].tolist(), first_at))
            written += len(touched)
    return written
