"""The checks of the data doctor: each counts what is odd, gives examples, and says what to do next."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Final

from features.contracts.weights import ActionWeight
from features.db.connection import Connection
from features.db.queries import queries

RECENT_DAYS: Final = 28
RECENT_HOURS: Final = 72
DENSE: Final = 20
"""Events that an hour or day usually has at least where one without any is a gap and no coincidence."""
FEW: Final = 100
"""With fewer events than this a share says nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What checks look at.

    Attributes
    ----------
    connection
        In a transaction.
    percent
        Of the table's pages.
    rows
        Interactions in the sample.
    now
        Aware UTC.
    weights
        Of the actions that training knows, by name.
    threshold
        Of the check under way.
    """

    connection: Connection
    percent: float
    rows: int
    now: datetime
    weights: Mapping[str, ActionWeight]
    threshold: float

    @property
    def scale(self) -> float:
        """Interactions of the table for each one of the sample."""
        return 100 / self.percent


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found.

    Attributes
    ----------
    failed
        Whether that is beyond the threshold.
    count, of
        How many are odd, of how many that were looked at.
    told
        What was found, in words.
    examples
        At most ten.
    """

    failed: bool
    count: int
    of: int
    told: str
    examples: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A named check and what to do when it fails."""

    name: str
    purpose: str
    run: Callable[[Sample], Found]
    next_step: str


def _share(count: int, of: int) -> float:
    return count / of if of else 0.0


def unknown_items(sample: Sample) -> Found:
    """Return the interactions whose item the catalogue does not hold."""
    rows = list(queries.unknown_items(sample.connection, percent=sample.percent))
    count = rows[0][2] if rows else 0
    share = _share(count, sample.rows)
    told = f"{share:.1%} of interactions name items that the catalogue does not hold"
    examples = [f"item {item}: {events} interactions" for item, events, _ in rows]
    return Found(share > sample.threshold, count, sample.rows, told, examples)


def bots(sample: Sample) -> Found:
    """Return users with far more interactions than people have."""
    least = sample.threshold / sample.scale
    rows = list(queries.busiest_users(sample.connection, percent=sample.percent, at_least=least))
    count, events = rows[0][3:] if rows else (0, 0)
    told = f"{count} users hold {_share(events, sample.rows):.1%} of all interactions, each above the limit"
    examples = [f"user {user}: about {number * sample.scale:.0f} interactions" for user, number, *_ in rows]
    return Found(count > 0, count, sample.rows, told, examples)


def one_action(sample: Sample) -> Found:
    """Return whether nearly all interactions are of one action that says nothing of how much somebody liked it."""
    rows = list(queries.actions_taken(sample.connection, percent=sample.percent))
    of = sum(count for _, count in rows)
    action, count = rows[0] if rows else ("", 0)
    weight = sample.weights.get(action)
    share = _share(count, of)
    told = f"{share:.1%} of interactions are of the action {action!r}" if rows else "there are no interactions"
    flat = weight is not None and weight.rule == "constant"
    examples = [f"{name}: {number}" for name, number in rows[:10]]
    return Found(of >= FEW and flat and share > sample.threshold, count, of, told, examples)


def unweighted_actions(sample: Sample) -> Found:
    """Return interactions whose action weighs nothing."""
    rows = list(queries.actions_taken(sample.connection, percent=sample.percent))
    odd = [(action, count) for action, count in rows if action not in sample.weights]
    count, of = sum(number for _, number in odd), sum(number for _, number in rows)
    told = f"{_share(count, of):.1%} of interactions are of actions without a weight: training ignores them"
    examples = [f"{action}: {number} interactions" for action, number in odd[:10]]
    return Found(_share(count, of) > sample.threshold, count, of, told, examples)


def items_without_text(sample: Sample) -> Found:
    """Return items that have neither title, text nor categories."""
    rows = list(queries.items_without_text(sample.connection))
    count, of = rows[0][1:] if rows else (0, 0)
    told = f"{count} items have neither title, text nor categories" + (f" ({_share(count, of):.1%})" if of else "")
    return Found(_share(count, of) > sample.threshold, count, of, told, [f"item {row[0]}" for row in rows])


def duplicates(sample: Sample) -> Found:
    """Return interactions that repeat user, item, action and second under another id."""
    rows = list(queries.same_content(sample.connection, percent=sample.percent))
    count = rows[0][5] if rows else 0
    share = _share(count, sample.rows)
    told = f"{share:.1%} of interactions repeat another's user, item, action and second under an id of their own"
    examples = [
        f"user {user}, item {item}, {action} at {at:%Y-%m-%d %H:%M:%S}: {number} times"
        for user, item, action, at, number, _ in rows
    ]
    return Found(share > sample.threshold, count, sample.rows, told, examples)


def gaps(sample: Sample) -> Found:
    """Return hours and days without any interaction, between such with many."""
    newest = queries.newest_occurrence(sample.connection, percent=sample.percent, now=sample.now)
    if newest is None:
        return Found(failed=False, count=0, of=0, told="there are no interactions")
    until = newest + timedelta(microseconds=1)
    days = _empty(sample, until, RECENT_DAYS, timedelta(days=1))
    hours = _empty(sample, until, RECENT_HOURS, timedelta(hours=1))
    told = f"{len(days)} of the last {RECENT_DAYS} days and {len(hours)} of the last {RECENT_HOURS} hours are empty"
    examples = [f"the day up to {end:%Y-%m-%d %H:%M}" for end in days] + [
        f"the hour up to {end:%Y-%m-%d %H:%M}" for end in hours
    ]
    count = len(days) + len(hours)
    return Found(count > sample.threshold, count, RECENT_DAYS + RECENT_HOURS, told, examples[:10])


def _empty(sample: Sample, until: datetime, buckets: int, length: timedelta) -> list[datetime]:
    """Return the ends of buckets without any interaction, where buckets usually have many; newest first."""
    counts = _counts(sample, until, buckets, length)
    last = max((back for back, count in enumerate(counts) if count), default=0)
    within = counts[: last + 1]  # before the first event of all there is no gap
    if not within or median(within) < DENSE:
        return []
    return [until - back * length for back, count in enumerate(within) if not count]


def _counts(sample: Sample, until: datetime, buckets: int, length: timedelta) -> list[int]:
    """Return how many interactions of the sample occurred in each bucket back from a time, newest first."""
    span = {"since": until - buckets * length, "until": until, "seconds": length.total_seconds()}
    found = dict(queries.interactions_by_bucket(sample.connection, percent=sample.percent, **span))
    return [found.get(back, 0) for back in range(buckets)]


def volume_drop(sample: Sample) -> Found:
    """Return how much the last 24 hours lack against the same day of earlier weeks, or the days before."""
    counts = _counts(sample, sample.now, RECENT_DAYS + 1, timedelta(days=1))
    weekly = [count for count in counts[7::7] if count]
    earlier = weekly if len(weekly) >= 2 else [count for count in counts[1:] if count]
    usual = median(earlier) if earlier else 0
    last = counts[0]
    drop = 1 - last / usual if usual else 0.0
    told = f"{last * sample.scale:.0f} interactions in the last 24 hours, {usual * sample.scale:.0f} usually"
    examples = [f"{back} days ago: {count * sample.scale:.0f}" for back, count in enumerate(counts[:10])]
    return Found(usual >= FEW and drop > sample.threshold, max(0, round(usual - last)), round(usual), told, examples)


def time_zones(sample: Sample) -> Found:
    """Return live interactions that landed whole hours after, or before, they say that they occurred."""
    rows = list(queries.shifted_hours(sample.connection, percent=sample.percent))
    live = sum(count for _, count, _ in rows)
    shifted = [(hours, count, event) for hours, count, event in rows if hours]
    hours, count, _ = shifted[0] if shifted else (0, 0, None)
    share = _share(count, live)
    told = f"{share:.1%} of live interactions landed {hours} whole hours after they say that they occurred"
    examples = [f"{hours:+d} h: {count} interactions, such as event {event}" for hours, count, event in shifted[:10]]
    return Found(live >= FEW and share > sample.threshold, count, live, told, examples)


def skewed_producers(sample: Sample) -> Found:
    """Return producers whose clocks run ahead."""
    rows = list(queries.skewed_producers(sample.connection, percent=sample.percent, seconds=sample.threshold))
    count = rows[0][4] if rows else 0
    told = f"producers whose clock runs more than {sample.threshold:.0f} s ahead sent {count} interactions"
    examples = [
        f"{topic}{f', {producer}' if producer else ''}: {ahead_s:.0f} s ahead in {number} interactions"
        for topic, producer, number, ahead_s, _ in rows
    ]
    return Found(bool(rows), count, sample.rows, told, examples)


def _checks() -> Iterable[Check]:
    yield Check(
        "unknown_items",
        "interactions whose item the catalogue does not hold",
        unknown_items,
        "send the items (POST /api/v1/items, or `python -m features import --items`); until then they are mere ids",
    )
    yield Check(
        "bots",
        "users with far more interactions than people have",
        bots,
        "look at them; `python -m features erase USER_ID` takes one out for good",
    )
    yield Check(
        "one_action",
        "one action only",
        one_action,
        "send more that shows liking (rating, watch, favorite, purchase): one constant action teaches less",
    )
    yield Check(
        "unweighted_actions",
        "actions without a weight",
        unweighted_actions,
        "send actions that have a weight, or give them one in the file that MARQUEE_ACTION_WEIGHTS names",
    )
    yield Check(
        "items_without_text",
        "items without title, text and categories",
        items_without_text,
        "send titles, texts or categories: content neighbours and search know such items not at all",
    )
    yield Check(
        "duplicates",
        "the same content under different ids",
        duplicates,
        "let the producer keep the event_id when it tries again, or send an Idempotency-Key",
    )
    yield Check(
        "gaps",
        "hours and days without any event",
        gaps,
        "see whether producers and landing ran then (`python -m features reconcile --trend 72`); send what is lacking",
    )
    yield Check(
        "time_zones",
        "times shifted by whole hours",
        time_zones,
        "let the producer send UTC or an offset (`...Z`, `+02:00`): its times look like local ones without their zone",
    )
    yield Check(
        "skewed_producers",
        "clocks that run ahead",
        skewed_producers,
        "set the producer's clock (NTP); until then its events count from when they landed",
    )
    yield Check(
        "volume_drop",
        "a sudden drop in volume",
        volume_drop,
        "see whether producers send and landing keeps up (`python -m features reconcile --trend 48`)",
    )


CHECKS: Final = tuple(_checks())
"""All checks, in the order of the report."""
