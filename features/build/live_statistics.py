"""Item statistics of the live tables, advanced bucket by bucket: the rows that serving reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from features.build.progress import Progress, keep_progress, read_progress
from features.contracts.ids import IdMap
from features.contracts.statistics import (
    BUCKET_US,
    NEVER_US,
    StatisticEvents,
    StatisticsState,
    bucket_edge,
    weight_once,
)
from features.contracts.times import from_us, to_us
from features.contracts.weights import ActionWeights
from features.contracts.weights_file import SaidWeights, load_weights
from features.db.connection import Connection, connect, database_errors
from features.db.gate import landed_before
from features.db.queries import queries
from features.db.statistics_rows import ROW_TYPES, row_of, state_of_rows
from features.settings import Settings


@dataclass(frozen=True, slots=True)
class Refresh:
    """What one refresh did."""

    closed_at: datetime
    rows: int
    items_rebuilt: int
    weights: ActionWeights


@dataclass(frozen=True, slots=True)
class _Events:
    """Events in the order in which they became known, and the ids behind their internal item indices."""

    ids: IdMap
    known: StatisticEvents


def refresh_statistics(
    settings: Settings, *, until: datetime | None = None, anew: tuple[datetime, datetime] | None = None
) -> Refresh:
    """Return what was added after advancing the rows to the newest closed bucket; safe to repeat.

    Rows of past buckets never change, with two exceptions that rebuild items from all their events: events that
    came late (a backfill whose `known_at` lies in a closed bucket), and new weights (another file, or the data's shape
    has clearly changed), which rebuild all.

    Parameters
    ----------
    settings
        Where Postgres is, and the file of weights if there is one.
    until
        The moment that counts as now; the database's clock by default.
    anew
        Items with events known in this half-open range are rebuilt as well.

    Raises
    ------
    UnavailableError
        If Postgres is away; nothing was changed.
    ContractError
        If the file of weights breaks its contract.
    """
    said = load_weights(settings.action_weights)
    connection = connect(settings, name="statistics", statement_timeout_s=600)
    with connection, database_errors("refreshing item statistics"):
        read_until = landed_before(connection)
        with connection.transaction():
            return _refresh(connection, read_until, min(until or read_until, read_until), said, anew)


def _refresh(
    connection: Connection,
    read_until: datetime,
    until: datetime,
    said: SaidWeights,
    anew: tuple[datetime, datetime] | None,
) -> Refresh:
    queries.lock_statistics(connection)
    before = read_progress(connection)
    shape, weights = before.weighed(connection, read_until, said)
    closed_at = max(before.closed_at, from_us(bucket_edge(to_us(until))))
    if weights != before.weights:
        queries.forget_all_statistics(connection)
        before = Progress()
    found = queries.late_items(
        connection, read_since=before.read_until, read_until=read_until, closed_at=before.closed_at
    )
    late = {row[0] for row in found}
    if anew is not None:
        since, until_known = anew[0], min(anew[1], before.closed_at)
        late |= {row[0] for row in queries.items_known_between(connection, since=since, until=until_known)}
    rows = _rebuild(connection, sorted(late), before.closed_at, weights)
    rows += _advance(connection, before.closed_at, closed_at, weights)
    keep_progress(connection, closed_at, read_until, shape, weights)
    return Refresh(closed_at, rows, len(late), weights)


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
    columns = list(zip(*rows, strict=True)) or [(), (), (), (), ()]
    item_ids, actions, values, known_at, repeats = columns
    ids = IdMap(sorted(set(item_ids)))
    value = np.asarray(values, dtype=np.float64)
    known = StatisticEvents(
        item=ids.index(item_ids),
        weight=weight_once(weights.weigh(actions, value), np.asarray(repeats, dtype=np.bool_)),
        strong=weights.strong(actions),
        rating=weights.ratings(actions, value),
        known_us=np.fromiter((to_us(at) for at in known_at), dtype=np.int64, count=len(known_at)),
    )
    return _Events(ids, known)


def _stored_state(connection: Connection, ids: IdMap) -> StatisticsState:
    """Return the state of some items as their newest rows hold it."""
    state = StatisticsState.empty(len(ids))
    external = ids.external(np.arange(len(ids)))
    item_ids, stored = state_of_rows(list(queries.newest_states(connection, item_ids=external)))
    state.put(ids.index(item_ids), stored)
    return state


def _write(connection: Connection, events: _Events, state: StatisticsState) -> int:
    """Return how many rows were added after taking in the events, one row for each item of each bucket."""
    starts = np.flatnonzero(np.diff(events.known.closes_us(BUCKET_US), prepend=NEVER_US))
    ends = np.append(starts, len(events.known))[1:]
    external = events.ids.external(np.arange(len(events.ids)))
    written = 0
    with connection.cursor() as cursor, cursor.copy(queries.copy_item_statistics.sql) as copy:
        copy.set_types(ROW_TYPES)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            touched = state.add(events.known[start:end], BUCKET_US)
            for at in touched.tolist():
                copy.write_row(row_of(external[at], state, at))
            written += len(touched)
    return written
