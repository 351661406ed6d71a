"""Lists as they were served: written in batches, read to be shown, computed again or compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from features.contracts.erasure import secret_check, user_key
from features.contracts.profiles import UserHistory
from features.contracts.statistics import StatisticsRows
from features.contracts.times import from_us, to_us
from features.db.connection import AsyncPool, Connection, database_errors
from features.db.gate import GATE
from features.db.queries import async_queries, queries
from features.db.statistics_rows import state_of_rows

_LISTS: Final = ("history_event_ids", "item_ids", "scores", "sources", "reasons", "lacking")
_PLAIN: Final = (
    *("recommendation_id", "user_id", "request", "model_version", "degraded", "fallback_reason", "took_s"),
    *_LISTS,
)
"""Columns that are members of `ServedList` as they are."""
COLUMNS: Final = (
    *("recommendation_id", "user_id", "served_at", "request", "model_version"),
    *("bundle_digest", "spec_hash", "as_of_us", "statistics_closed_at_us", "own_statistics"),
    *("n_items", "arrivals", "allowed"),
    *("history_event_ids", "item_ids", "scores", "sources", "reasons"),
    *("degraded", "fallback_reason", "lacking", "took_s"),
    *("ordered_by", "feature_names", "source_names"),
    *("candidate_ids", "candidate_rows", "candidate_ranks", "candidate_scores", "candidate_unmet"),
)
"""Columns of the table `served_lists`, in the order of the query `served_list`."""
_FLOAT: Final = np.dtype("<f4")
_DOUBLE: Final = np.dtype("<f8")


@dataclass(frozen=True, eq=False, slots=True)
class Origin:
    """What a list was made from, besides the history and the request.

    Attributes
    ----------
    bundle_digest, spec_hash
        Of the bundle, and of the columns that its ranker reads.
    as_of_us, statistics_closed_at_us
        The moment, and the edge of the bucket of the item statistics, microseconds since 1970 UTC.
    own_statistics
        Whether they were the bundle's own copy, not those of Postgres.
    allowed
        bool (n_items,), which items of the model could come back: by their state, by the request, by what the user had
        seen. Items that arrived since the bundle was made come after its own.
    arrivals
        Digest of these in their order, and of all that they were made from; None where there were none.
    """

    bundle_digest: str
    spec_hash: str
    as_of_us: int
    statistics_closed_at_us: int
    own_statistics: bool
    allowed: npt.NDArray[np.bool_]
    arrivals: str | None


@dataclass(frozen=True, eq=False, slots=True)
class Considered:
    """All candidates of a list, and what ordered them.

    Attributes
    ----------
    ordered_by
        "ranker", "blend" or the name of a source.
    feature_names, source_names
        Columns of `rows` and of `ranks`.
    item_ids
        External ids of n candidates.
    rows
        float32 (n, n_features), what the ranker read; (0, n_features) where no ranker looked.
    ranks
        float32 (n, n_sources), from 1, NaN where the source did not offer the item.
    scores
        float64 (n,).
    unmet
        bool (n,), whether it was ranked as an item that nobody ever met.
    """

    ordered_by: str
    feature_names: Sequence[str]
    source_names: Sequence[str]
    item_ids: Sequence[str]
    rows: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float64]
    unmet: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class ServedList:
    """A list as it was served.

    Attributes
    ----------
    user_id
        None for an anonymous session.
    served_at_us
        When the request came, microseconds since 1970 UTC.
    request
        What was asked for, as plain JSON.
    history_event_ids
        The events that it was made from, newest first; `inline-...` are those that the request brought.
    item_ids, scores, sources, reasons
        The list, best first.
    fallback_reason, lacking
        What was told of why the list is no better, and all that was known of it.
    took_s
        Seconds by step.
    origin
        None where there was no bundle.
    considered
        None where nothing was ranked.
    """

    recommendation_id: str
    user_id: str | None
    served_at_us: int
    request: Mapping[str, Any]
    model_version: str | None
    history_event_ids: Sequence[str]
    item_ids: Sequence[str]
    scores: Sequence[float]
    sources: Sequence[str]
    reasons: Sequence[str]
    degraded: bool
    fallback_reason: str | None
    lacking: Sequence[str]
    took_s: Mapping[str, float]
    origin: Origin | None
    considered: Considered | None

    @property
    def exploration(self) -> dict[str, Any]:
        """Return how its places for what nobody has met were given, as `Options` takes it."""
        return {
            "fresh_share": self.request["fresh_share"],
            "fresh_draw": self.request.get("fresh_draw", 0.0),  # which older records do not tell
            "seed": self.recommendation_id,
        }


class ServedStore:
    """Writes lists over the async pool.

    Parameters
    ----------
    pool
        Opened in the event loop that uses the store.
    erasure_secret
        By which erased users are known: a list of theirs may still be on its way when they are erased.
    """

    def __init__(self, pool: AsyncPool, erasure_secret: bytes) -> None:
        self._pool = pool
        self._secret = erasure_secret
        self._is_theirs = False

    async def add(self, lists: Sequence[ServedList]) -> int:
        """Keep lists, without those of erased users, and return how many were kept, in one transaction.

        Raises
        ------
        UnavailableError
            If Postgres is away or too slow.
        RefusedError
            If it refuses a value of one of them; none is kept then.
        """
        with database_errors("keeping served lists"):
            async with self._pool.connection() as connection, connection.transaction():
                # No erasure can come between looking who was erased and the end of this transaction.
                await async_queries.enter_gate(connection, gate=GATE)
                erased = await self._erased(connection, {one.user_id for one in lists if one.user_id is not None})
                kept = [one for one in lists if one.user_id not in erased]
                if kept:
                    await async_queries.insert_served_lists(connection, [_row_of(one) for one in kept])
                return len(kept)

    async def _erased(self, connection: AsyncConnection[tuple[Any, ...]], user_ids: set[str]) -> set[str]:
        """Return those of some users who were erased; without the secret of then nobody can tell, so all if any was."""
        if not user_ids:
            return set()
        if not self._secret:
            return user_ids if await async_queries.any_erased(connection) else set()
        if not self._is_theirs:
            if await async_queries.foreign_erasures(connection, secret_check=secret_check(self._secret)):
                return user_ids
            # Once there is one, each later erasure is held to its secret: nobody need count them again.
            self._is_theirs = bool(await async_queries.any_erased(connection))
        users = {user_key(self._secret, user_id): user_id for user_id in user_ids}
        return {users[bytes(key)] async for (key,) in async_queries.erased_among(connection, user_keys=[*users])}


def find(connection: Connection, recommendation_id: str) -> ServedList | None:
    """Return a list as it was served, None where it was not recorded."""
    with database_errors("reading a served list"), connection.transaction():
        row = queries.served_list(connection, recommendation_id=recommendation_id)
    return None if row is None else served_list_of(row)


def stored_history(connection: Connection, served: ServedList) -> UserHistory:
    """Return what is still stored of the history that a list was made from, without what had been seen."""
    if served.user_id is None:
        return UserHistory("")
    with database_errors("reading the history of a served list"), connection.transaction():
        rows = list(queries.events_by_id(connection, user_id=served.user_id, event_ids=list(served.history_event_ids)))
    event_ids, item_ids, actions, values, at = zip(*rows, strict=True) if rows else ((),) * 5
    return UserHistory(served.user_id, event_ids, item_ids, actions, values, [to_us(one) for one in at])


def statistics_at(connection: Connection, closed_at_us: int) -> StatisticsRows:
    """Return the statistics row of each item that was the newest at an edge, and the weights that rows go by now.

    Rows of buckets that are closed change only where late events or other action weights have them computed anew.
    """
    with database_errors("reading the statistics of a bucket"), connection.transaction():
        progress = queries.statistics_progress(connection)
        rows = list(queries.item_statistics_at(connection, closed_at=from_us(closed_at_us)))
    item_ids, state = state_of_rows(rows)
    return StatisticsRows(item_ids, state, closed_at_us, {} if progress is None else progress[3])


def served_list_of(row: Sequence[Any]) -> ServedList:
    """Return a list from the columns of the query `served_list`."""
    of = dict(zip(COLUMNS, row, strict=True))
    return ServedList(
        served_at_us=to_us(of["served_at"]),
        origin=None if of["bundle_digest"] is None else _origin_of(of),
        considered=None if of["ordered_by"] is None else _considered_of(of),
        **{name: of[name] for name in _PLAIN},
    )


def _origin_of(of: Mapping[str, Any]) -> Origin:
    return Origin(
        bundle_digest=of["bundle_digest"],
        spec_hash=of["spec_hash"],
        as_of_us=of["as_of_us"],
        statistics_closed_at_us=of["statistics_closed_at_us"],
        own_statistics=of["own_statistics"],
        allowed=np.unpackbits(np.frombuffer(of["allowed"], np.uint8), count=of["n_items"]).view(np.bool_),
        arrivals=of["arrivals"],
    )


def _considered_of(of: Mapping[str, Any]) -> Considered:
    return Considered(
        ordered_by=of["ordered_by"],
        feature_names=of["feature_names"],
        source_names=of["source_names"],
        item_ids=of["candidate_ids"],
        rows=np.frombuffer(of["candidate_rows"], _FLOAT).reshape(-1, len(of["feature_names"])),
        ranks=np.frombuffer(of["candidate_ranks"], _FLOAT).reshape(-1, len(of["source_names"])),
        scores=np.frombuffer(of["candidate_scores"], _DOUBLE),
        unmet=np.frombuffer(of["candidate_unmet"], np.bool_),
    )


def _row_of(served: ServedList) -> dict[str, Any]:
    """Return the parameters of the query `insert_served_lists`."""
    plain = {name: getattr(served, name) for name in _PLAIN}
    return {
        **{name: [*value] if name in _LISTS else value for name, value in plain.items()},
        "served_at": from_us(served.served_at_us),
        "request": Jsonb(served.request),
        "took_s": Jsonb(served.took_s),
        **_origin_row(served.origin),
        **_considered_row(served.considered),
    }


def _origin_row(origin: Origin | None) -> dict[str, Any]:
    return {
        "bundle_digest": origin and origin.bundle_digest,
        "spec_hash": origin and origin.spec_hash,
        "as_of_us": origin and origin.as_of_us,
        "statistics_closed_at_us": origin and origin.statistics_closed_at_us,
        "own_statistics": origin and origin.own_statistics,
        "n_items": origin and len(origin.allowed),
        "arrivals": origin and origin.arrivals,
        "allowed": origin and np.packbits(origin.allowed).tobytes(),
    }


def _considered_row(found: Considered | None) -> dict[str, Any]:
    return {
        "ordered_by": found and found.ordered_by,
        "feature_names": found and list(found.feature_names),
        "source_names": found and list(found.source_names),
        "candidate_ids": found and list(found.item_ids),
        "candidate_rows": found and found.rows.astype(_FLOAT).tobytes(),
        "candidate_ranks": found and found.ranks.astype(_FLOAT).tobytes(),
        "candidate_scores": found and found.scores.astype(_DOUBLE).tobytes(),
        "candidate_unmet": found and found.unmet.tobytes(),
    }
