"""The history that a request is answered from: what Postgres knows of the user, and what the request brings along."""

from collections.abc import Iterator, Sequence

from features.contracts.profiles import UserHistory
from serving.asks import InlineEvent

_Row = tuple[str, str, str, float, int]
"""Event id, item id, action, value, moment in microseconds since 1970 UTC."""


def merge_history(stored: UserHistory, inline: Sequence[InlineEvent], now_us: int, limit: int) -> UserHistory:
    """Return a stored history together with a request's own acts, newest first, cut to a number of events.

    Parameters
    ----------
    stored
        As `Store.history` gives it, newest first.
    inline
        The request's acts in the order in which they happened; those without a time, or with one that is still to
        come, happened just now.
    now_us
        When the request came, microseconds since 1970 UTC.
    limit
        Events to keep; the set of seen items is never cut.
    """
    if not inline:
        return stored
    rows = list(_merged(_inline_rows(inline, now_us), _stored_rows(stored)))[:limit]
    event_ids, item_ids, actions, values, at_us = (list(column) for column in zip(*rows, strict=True))
    seen = {*stored.seen_item_ids, *(event.item_id for event in inline)}
    return UserHistory(stored.user_id, event_ids, item_ids, actions, values, at_us, sorted(seen))


def moment_of(history: UserHistory, closed_at_us: int, now_us: int) -> int:
    """Return the moment to answer as of: now, but after all that is known, even if another machine's clock is ahead."""
    return max(now_us, closed_at_us, max(history.at_us, default=now_us - 1) + 1)


def _inline_rows(inline: Sequence[InlineEvent], now_us: int) -> list[_Row]:
    rows = [
        (
            f"inline-{place:04d}",
            event.item_id,
            event.action,
            float("nan") if event.value is None else event.value,
            min(now_us - 1 if event.at_us is None else event.at_us, now_us - 1),
        )
        for place, event in enumerate(inline)
    ]
    return sorted(rows, key=lambda row: (row[4], row[0]), reverse=True)


def _stored_rows(stored: UserHistory) -> list[_Row]:
    columns = (stored.event_ids, stored.item_ids, stored.actions, stored.values, stored.at_us)
    return list(zip(*columns, strict=True))


def _merged(left: Sequence[_Row], right: Sequence[_Row]) -> Iterator[_Row]:
    """Yield two lists, newest first, as one; each keeps its own order."""
    at = 0
    for row in left:
        while at < len(right) and right[at][4] > row[4]:
            yield right[at]
            at += 1
        yield row
    yield from right[at:]
