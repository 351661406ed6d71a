"""Item statistics of the live tables, advanced bucket by bucket: the rows that serving reads."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

import numpy as np

from features.build.progress import keep_progress, read_progress
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

EVENTS_AT_ONCE: Final = 100_000
"""Held in memory, and of a single bucket more: some 30 MB."""

OnEvents = Callable[[int], None]

_Row = tuple[str, str, float, datetime, bool]
"""Item id, action, value (NaN without one), when it became known, and whether it is a repeat."""
_KNOWN_AT: Final = 3


@dataclass(frozen=True, slots=True)
class Refresh:
    """What one refresh did."""

    closed_at: datetime
    rows: int
    items_rebuilt: int
    weights: ActionWeights


def refresh_statistics(
    settings: Settings,
    *,
    until: datetime | None = None,
    anew: tuple[datetime, datetime] | None = None,
    on_events: OnEvents = lambda _: None,
) -> Refresh:
    """Return what was added after advancing the rows to the newest closed bucket; safe to repeat.

    Rows of past buckets never change, with two exceptions that rebuild items from all their events: events that
    came late (a backfill whose `known_at` lies in a closed bucket), and new weights, which rebuild all. These are the
    weights of the version that serves, as servers tell: what people do meanwhile, or a new file, changes them with the
    next version that is trained. Before one serves they are such as the data and the file lead to. What retention has
    deleted stays counted, by the weights of then.

    Parameters
    ----------
    settings
        Where Postgres is, and the file of weights if there is one.
    until
        The moment that counts as now; the database's clock by default.
    anew
        Items with events known in this half-open range are rebuilt as well.
    on_events
        Told of how many more events were counted, for a progress bar.

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
            now = min(until or read_until, read_until)
            return _refresh(connection, read_until, now, said, anew=anew, on_events=on_events)


def _refresh(
    connection: Connection,
    read_until: datetime,
    until: datetime,
    said: SaidWeights,
    *,
    anew: tuple[datetime, datetime] | None,
    on_events: OnEvents,
) -> Refresh:
    queries.lock_statistics(connection)
    before = read_progress(connection)
    shape, found = before.weighed(connection, read_until, said)
    served = queries.served_weights(connection)
    weights = found if served is None else ActionWeights.from_json(served)
    reached, closed_at = before.closed_at, max(before.closed_at, from_us(bucket_edge(to_us(until))))
    counting = _Counting(connection, weights, before.base_at, read_until, on_events)
    if weights != before.weights:
        queries.forget_statistics(connection, after=before.base_at)
        reached = before.base_at
    landed = {"read_since": before.read_until, "read_until": read_until}
    late = {row[0] for row in queries.late_items(connection, **landed, closed_at=reached)}
    if anew is not None:
        known = {"since": anew[0], "until": min(anew[1], reached), "read_until": read_until}
        late |= {row[0] for row in queries.items_known_between(connection, **known)}
    rows = counting.rebuild(sorted(late), reached, landed) + counting.advance(reached, closed_at)
    keep_progress(connection, closed_at, read_until, shape, weights)
    return Refresh(closed_at, rows, len(late), weights)


@dataclass(frozen=True, slots=True)
class _Counting:
    """What writes rows, all in one transaction.

    Attributes
    ----------
    base_at
        Rows up to this edge hold events that retention has deleted since. They stay: nobody could count these again.
    read_until
        What landed since is left to the next refresh: all queries read the same events, though imports commit between
        them.
    """

    connection: Connection
    weights: ActionWeights
    base_at: datetime
    read_until: datetime
    on_events: OnEvents

    def rebuild(self, late: Sequence[str], reached: datetime, landed: Mapping[str, datetime]) -> int:
        """Return how many rows items got by being computed anew up to the edge reached so far.

        `landed` says between when those events landed that have not been counted yet.
        """
        if not late:
            return 0
        queries.forget_item_statistics(self.connection, item_ids=late, after=self.base_at)
        rows = self._add_to_base(late, landed)
        known = {"known_since": self.base_at, "known_until": reached, "read_until": self.read_until}
        return rows + self._replay(late, queries.events_of_items.sql, {"item_ids": late, **known})

    def advance(self, reached: datetime, until: datetime) -> int:
        """Return how many rows the buckets between two edges added."""
        known = {"since": reached, "until": until, "read_until": self.read_until}
        touched = sorted(row[0] for row in queries.items_known_between(self.connection, **known))
        return self._replay(touched, queries.events_between.sql, known)

    def _add_to_base(self, late: Sequence[str], landed: Mapping[str, datetime]) -> int:
        """Return how many rows hold more, now that what landed since, and was known before them, is in their sums."""
        found = queries.landed_and_known_before(self.connection, **landed, item_ids=late, known_until=self.base_at)
        rows = list(found)
        ids = IdMap(sorted({row[0] for row in rows}))
        more = StatisticsState.empty(len(ids))
        more.add(self._weighed(rows, ids), BUCKET_US)
        both = self._stored(ids).plus(more)
        items, edges = _ids_of(ids), [from_us(at_us) for at_us in both.last_at_us.tolist()]
        queries.forget_statistics_rows(self.connection, item_ids=items, closed_at=edges)
        return self._write(row_of(item, both, at) for at, item in enumerate(items))

    def _replay(self, item_ids: Sequence[str], query: str, parameters: Mapping[str, object]) -> int:
        """Return how many rows the events of a query added to those of some items; never holds all events."""
        ids = IdMap(item_ids)
        state, written = self._stored(ids), 0
        with self.connection.cursor("events") as cursor:
            cursor.execute(query, parameters, binary=True)
            for rows in _whole_buckets(iter(lambda: cursor.fetchmany(EVENTS_AT_ONCE), [])):
                written += self._write(_rows_of(self._weighed(rows, ids), ids, state))
                self.on_events(len(rows))
        return written

    def _weighed(self, rows: Sequence[_Row], ids: IdMap) -> StatisticEvents:
        item_ids, actions, values, known_at, repeats = zip(*rows, strict=True) if rows else ((),) * 5
        value = np.asarray(values, dtype=np.float64)
        return StatisticEvents(
            item=ids.index(item_ids),
            weight=weight_once(self.weights.weigh(actions, value), np.asarray(repeats, dtype=np.bool_)),
            strong=self.weights.strong(actions),
            rating=self.weights.ratings(actions, value),
            known_us=np.fromiter((to_us(at) for at in known_at), dtype=np.int64, count=len(known_at)),
        )

    def _stored(self, ids: IdMap) -> StatisticsState:
        """Return the state of some items as their newest rows hold it."""
        state = StatisticsState.empty(len(ids))
        item_ids, stored = state_of_rows(list(queries.newest_states(self.connection, item_ids=_ids_of(ids))))
        state.put(ids.index(item_ids), stored)
        return state

    def _write(self, rows: Iterable[tuple[Any, ...]]) -> int:
        """Return how many rows were added."""
        written = 0
        with self.connection.cursor() as cursor, cursor.copy(queries.copy_item_statistics.sql) as copy:
            copy.set_types(ROW_TYPES)
            for row in rows:
                copy.write_row(row)
                written += 1
        return written


def _rows_of(events: StatisticEvents, ids: IdMap, state: StatisticsState) -> Iterator[tuple[Any, ...]]:
    """Yield the row of each item of each bucket, while the state takes the events in."""
    external = _ids_of(ids)
    starts = np.flatnonzero(np.diff(events.closes_us(BUCKET_US), prepend=NEVER_US))
    ends = np.append(starts, len(events))[1:]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        for at in state.add(events[start:end], BUCKET_US).tolist():
            yield row_of(external[at], state, at)


def _whole_buckets(parts: Iterable[list[_Row]]) -> Iterator[list[_Row]]:
    """Yield rows, which come in the order in which they became known, in parts that end where a bucket does."""
    held: list[_Row] = []
    for part in parts:
        held += part
        newest = from_us(bucket_edge(to_us(held[-1][_KNOWN_AT])))
        whole = bisect_left(held, newest, key=itemgetter(_KNOWN_AT))
        if whole:
            yield held[:whole]
            held = held[whole:]
    if held:
        yield held


def _ids_of(ids: IdMap) -> list[str]:
    return ids.external(np.arange(len(ids)))
