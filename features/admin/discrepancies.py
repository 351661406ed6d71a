"""What an account that does not balance may mean, in words: honest about what numbers alone can tell."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from features.admin.balance import Balance
from features.db.connection import Connection
from features.db.queries import queries

NAMED: Final = 10
"""Offsets that are named at most."""


@dataclass(frozen=True, slots=True)
class Life:
    """Where a partition stands, in its topic's present life.

    Attributes
    ----------
    lives
        How many lives of the topic were landed; the offsets of one are not those of another.
    first_offset, next_offset
        Landed is [first_offset, next_offset); None if this life was never landed.
    kafka_first, kafka_end
        Kafka has [kafka_first, kafka_end); None where it has no such topic.
    largest
        The largest offset among rows and letters, -1 without any.
    """

    lives: int
    first_offset: int | None
    next_offset: int | None
    kafka_first: int | None
    kafka_end: int | None
    largest: int

    @property
    def lag(self) -> int:
        """Offsets that are still to be landed."""
        if self.kafka_end is None or self.kafka_first is None:
            return 0
        return self.kafka_end - (self.kafka_first if self.next_offset is None else self.next_offset)


def explain(connection: Connection, account: Balance, life: Life) -> Iterator[str]:
    """Yield what is wrong with a partition, in the transaction under way; nothing where all is well."""
    yield from _place(life)
    if account.unaccounted > 0:
        yield _forward(account.unaccounted, life)
    elif account.unaccounted < 0:
        yield _back(-account.unaccounted, account, life)
    if account.rows_missing > 0:
        yield f"{account.rows_missing} stored rows are gone: {_gaps(connection, account, life)}"
    elif account.rows_missing < 0:
        yield f"{-account.rows_missing} rows stand that no counter knows: {_odd(connection, account, life)}"
    if account.dead_letters_missing > 0:
        gone = account.dead_letters_missing
        yield f"{gone} dead letters were deleted, or `dead` was raised: {_gaps(connection, account, life)}"
    elif account.dead_letters_missing < 0:
        yield f"{-account.dead_letters_missing} dead letters stand that `dead` does not count"


def _place(life: Life) -> Iterator[str]:
    """Yield what is wrong with where landing stands, whatever was counted."""
    if life.next_offset is None:
        if life.lives:
            yield "the topic was made anew and is not landed until `offsets accept` says from where"
        return
    if life.kafka_end is not None and life.next_offset > life.kafka_end:
        yield f"next_offset {life.next_offset} lies past the end of the topic, {life.kafka_end}: it was moved forward"
    if life.kafka_first is not None and life.next_offset < life.kafka_first:
        yield f"Kafka has deleted offsets {life.next_offset} to {life.kafka_first - 1} before they were landed"
    if life.lives == 1 and life.largest >= life.next_offset:
        yield f"a row stands at offset {life.largest}, and next_offset is {life.next_offset}: it was moved back"


def _forward(offsets: int, life: Life) -> str:
    """Say what it means that offsets were passed of which no counter knows."""
    told = f"no counter knows of {offsets} offsets passed: "
    if life.next_offset is None:
        return told + "next_offset was moved forward, or a counter was lowered"
    start = life.next_offset - offsets
    lost = f"(then offsets {start} to {life.next_offset - 1} were not landed)"
    return f"{told}next_offset was moved forward from {start} {lost}, or a counter was lowered"


def _back(offsets: int, account: Balance, life: Life) -> str:
    """Say what it means that more was counted than passed."""
    told = f"{offsets} more offsets were counted than passed: "
    if account.rows_missing > 0:
        return told + f"`stored` was raised by {min(offsets, account.rows_missing)}, or next_offset was moved back"
    if account.dead_letters_missing > 0:
        return (
            told + f"`dead` was raised by {min(offsets, account.dead_letters_missing)}, or next_offset was moved back"
        )
    before = "" if life.next_offset is None else f" by {offsets} to {life.next_offset}"
    return told + f"next_offset was moved back{before} (what is read again is a duplicate), or a counter was raised"


def _landed(account: Balance, life: Life) -> dict[str, object] | None:
    """Return which offsets were landed, as queries take them; None where those of several lives are mixed."""
    if life.lives != 1 or life.first_offset is None or life.next_offset is None:
        return None
    place = {"topic": account.topic, "partition": account.partition}
    return {**place, "first_offset": life.first_offset, "next_offset": life.next_offset}


def _gaps(connection: Connection, account: Balance, life: Life) -> str:
    """Name offsets that hold nothing: exactly what is missing where nothing else leaves gaps."""
    landed = _landed(account, life)
    if landed is None:
        return "offsets cannot be told, since the topic was made anew"
    ranges = list(queries.offsets_without_rows(connection, **landed, at_most=NAMED + 1))
    offsets = [offset for first, last in ranges for offset in range(first, min(last, first + NAMED) + 1)]
    if not offsets:
        return "no offset lacks a row: a counter was raised"
    named = ", ".join(map(str, offsets[:NAMED])) + (", ..." if len(offsets) > NAMED else "")
    gaps = account.duplicate + account.skipped + account.erased + account.expired + account.letters_expired
    others = f"; {gaps} more offsets are without one rightly (duplicate, skipped, erased, expired)" if gaps else ""
    return f"offsets without row or letter: {named}{others}"


def _odd(connection: Connection, account: Balance, life: Life) -> str:
    """Name rows that cannot come from landing."""
    landed = _landed(account, life)
    if landed is None:
        return "which ones cannot be told, since the topic was made anew"
    odd = list(queries.odd_rows(connection, **landed, at_most=NAMED))
    if not odd:
        return "they stand at offsets of their own, so that a counter was changed or rows were inserted in gaps"
    named = "; ".join(f"offset {offset}: {', '.join(ids) or 'a dead letter'}" for offset, ids in odd)
    return f"inserted by hand, among {named}"
