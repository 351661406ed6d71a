"""What the ranker would see of a user now, by name, and the same made anew and published."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final

import orjson

from features.contracts.errors import UnavailableError
from features.contracts.profiles import HISTORY_LIMIT, UserHistory
from features.contracts.times import from_us, zulu
from features.db.connection import Connection
from features.kafka import PROCESSED_FEATURES
from features.kafka_bulk import Message
from features.user_store import rebuild_seen
from features.vectorize import USER_FEATURES
from serving.auditing import By, note
from serving.clock import Clock
from serving.explain import name_of
from serving.guard import Guard
from serving.live import Current, LiveModel
from serving.operators import Operators
from serving.problems import unavailable
from serving.profile import moment_of
from serving.seams import EventSink, Store

LATEST: Final = 20
"""Events that are shown one by one."""
CATEGORIES: Final = 20
_REFRESH_S: Final = 30.0


class UserFeatures:
    """Says what is known of users.

    Parameters
    ----------
    store, guard
        Postgres, and what keeps a dead Postgres from holding up requests.
    current
        The served version, which knows the features.
    sink, kafka_guard
        Where refreshed features go.
    operators
        Runs what writes to Postgres.
    executor
        Threads, so that the event loop stays free.
    """

    def __init__(
        self,
        *,
        store: Store,
        guard: Guard,
        current: Current,
        sink: EventSink,
        kafka_guard: Guard,
        operators: Operators,
        executor: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._guard = guard
        self._current = current
        self._sink = sink
        self._kafka_guard = kafka_guard
        self._operators = operators
        self._executor = executor
        self._clock = clock

    async def of(self, user_id: str) -> dict[str, Any]:
        """Return what is known of a user now, in its wire form; of an unknown one, that nothing is.

        Raises
        ------
        ProblemError
            503, if Postgres is away.
        """
        live = self._current.live
        limit = HISTORY_LIMIT if live is None else live.model.manifest.history_limit
        try:
            history = await self._guard.call(partial(self._store.history, user_id, limit))
        except UnavailableError:
            raise unavailable("the event store is away; try again soon") from None
        work = partial(_described, live, history, self._clock())
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def refresh(self, user_id: str, by: By) -> dict[str, Any]:
        """Return the same after what is kept of the user was made anew, once it is published to `processed_features`.

        Of a user of whom nothing is known nothing is published.

        Raises
        ------
        ProblemError
            503, if Postgres or Kafka is away; what was made anew stays so, and asking again is harmless.
        """
        before, after = await self._operators.run(partial(_rebuilt, user_id=user_id, by=by), timeout_s=_REFRESH_S)
        found = await self.of(user_id)
        publish = found["known"]
        found["refreshed"] = {"items_seen_before": before, "items_seen": after, "published": publish}
        if publish:
            await self._publish(user_id, found)
        return found

    async def _publish(self, user_id: str, found: Mapping[str, Any]) -> None:
        message = Message(PROCESSED_FEATURES, user_id.encode(), orjson.dumps(found))
        try:
            await self._kafka_guard.call(lambda: self._sink.send([message]))
        except UnavailableError:
            raise unavailable(
                "what is kept of the user was made anew, but Kafka does not take it; try again soon"
            ) from None


def _rebuilt(connection: Connection, user_id: str, by: By) -> tuple[int, int]:
    before, after = rebuild_seen(connection, user_id)
    note(connection, by.deed("refresh", user_id, items_seen_before=before, items_seen=after))
    return before, after


def _described(live: LiveModel | None, history: UserHistory, now_us: int) -> dict[str, Any]:
    """Return a user's features and history in their wire form."""
    known = bool(len(history.event_ids) or len(history.seen_item_ids))
    found: dict[str, Any] = {"user_id": history.user_id, "known": known, "as_of_us": now_us}
    found |= {"statistics_closed_at_us": None, "model_version": None, "spec_hash": None, "features": []}
    if live is not None:
        statistics = live.statistics.current
        found |= {
            "as_of_us": moment_of(history, statistics.closed_at_us, now_us),
            "statistics_closed_at_us": statistics.closed_at_us,
            "model_version": live.version,
            "spec_hash": live.model.manifest.spec_hash,
        }
        found |= _features(live, history)
    return found | {"history": _history(live, history)}


def _features(live: LiveModel, history: UserHistory) -> dict[str, Any]:
    row, shares = live.model.user_features(live.model.encode([history]), live.statistics.current)
    liked = sorted(shares.items(), key=lambda entry: (-entry[1], entry[0]))[:CATEGORIES]
    return {
        "features": [
            {
                "name": feature.name,
                "meaning": feature.meaning,
                "unit": feature.unit,
                "value": value if value == value else None,  # noqa: PLR0124  # NaN
            }
            for feature, value in zip(USER_FEATURES, row.tolist(), strict=True)
        ],
        "categories": [{"name": name, "share": share} for name, share in liked],
    }


def _history(live: LiveModel | None, history: UserHistory) -> dict[str, Any]:
    """Return a summary of a history and its latest events."""
    columns = zip(history.event_ids, history.item_ids, history.actions, history.values, history.at_us, strict=True)
    latest = [
        {
            "event_id": event_id,
            "item_id": item_id,
            "title": None if live is None else _title(live, item_id),
            "action": action,
            "value": value if value == value else None,  # noqa: PLR0124  # NaN
            "at": _instant(at_us),
        }
        for (event_id, item_id, action, value, at_us), _ in zip(columns, range(LATEST), strict=False)
    ]
    return {
        "events": len(history.event_ids),
        "by_action": dict(Counter(history.actions)),
        "items_seen": len(history.seen_item_ids),
        "first_at": _instant(history.at_us[-1]) if len(history.at_us) else None,
        "last_at": _instant(history.at_us[0]) if len(history.at_us) else None,
        "latest": latest,
    }


def _title(live: LiveModel, item_id: str) -> str | None:
    row = int(live.model.items.index_or_missing([item_id])[0])
    return None if row < 0 else name_of(live, row)


def _instant(at_us: int) -> str:
    return zulu(from_us(at_us))
