"""Looking at dead letters, mending them, putting them aside, and sending them again."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from features.admin.letter_bytes import check_bytes, id_of_place, keep_event_id, set_members
from features.contracts.errors import ContractError, MarqueeError
from features.contracts.event_problems import EventError
from features.contracts.mappings import TopicMapping, load_mappings
from features.db.connection import Connection, database_errors
from features.db.queries import queries
from features.kafka import BACKFILL, MAX_MESSAGE_BYTES, EventProducer, address, wait_all

REPLAY_AT_ONCE: Final = 500
REPLAY_TIMEOUT_S: Final = 30.0
STATES: Final = ("open", "fixed", "replayed", "discarded", "erased")
"""A letter waits (`open`, `fixed`: a replay sends the mended bytes) or is done with."""


Mappings = Mapping[str, TopicMapping]


class NoSuchDeadLetterError(MarqueeError):
    """There is no dead letter with the id asked for."""


class LetterStateError(ContractError):
    """A dead letter is done with: what is asked cannot be done to it any more."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters: each field narrows, None does not.

    Attributes
    ----------
    reason, topic
        Exactly these.
    since, until
        Landed in [since, until), aware.
    """

    reason: str | None = None
    topic: str | None = None
    since: datetime | None = None
    until: datetime | None = None


AUDITED: Final = "dead letters"
"""What the audit calls what was done to several."""
IDS_AUDITED: Final = 100


def told(ids: Sequence[int] | None, chosen: Filter, count: int) -> dict[str, Any]:
    """Return for the audit which letters were meant, of ids the first `IDS_AUDITED`, and how many there were."""
    narrowed = {name: str(value) for name, value in asdict(chosen).items() if value is not None}
    named = {} if ids is None else {"ids": list(ids[:IDS_AUDITED]), "ids_given": len(ids)}
    return {"count": count, **named, **narrowed}


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without its bytes; instants are aware UTC, `state` is one of `STATES`."""

    dead_letter_id: int
    topic: str
    partition: int
    offset: int
    reason: str
    message: str
    landed_at: datetime
    published_at: datetime | None
    replayed_at: datetime | None
    fixed_at: datetime | None
    discarded_at: datetime | None
    erased_at: datetime | None
    state: str


@dataclass(frozen=True, slots=True)
class FullLetter(Letter):
    """A dead letter with its bytes: as they came, and mended where somebody did."""

    key: bytes | None
    raw: bytes
    fixed_raw: bytes | None
    backfill: bool


@dataclass(frozen=True, slots=True)
class StillRefused:
    """A letter that a replay did not send, because landing would refuse it again: why."""

    dead_letter_id: int
    reason: str
    message: str


Refusals = Callable[[StillRefused], None]


def find(connection: Connection, chosen: Filter, *, only_open: bool = False, at_most: int = 50) -> list[Letter]:
    """Return dead letters, newest first.

    Parameters
    ----------
    connection
        In no transaction.
    chosen
        Which ones.
    only_open
        Leave out those that were replayed, discarded or erased.
    at_most
        How many.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    with database_errors("listing dead letters"), connection.transaction():
        rows = queries.list_dead_letters(connection, **asdict(chosen), only_open=only_open, at_most=at_most)
        return [Letter(*row) for row in rows]


def count_states(connection: Connection, chosen: Filter) -> dict[str, int]:
    """Return how many of the chosen dead letters are in each state of `STATES`.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    with database_errors("counting dead letters"), connection.transaction():
        counts = dict(queries.count_dead_letters_by_state(connection, **asdict(chosen)))
    return {state: counts.get(state, 0) for state in STATES}


def get(connection: Connection, dead_letter_id: int) -> FullLetter:
    """Return one dead letter with its bytes.

    Raises
    ------
    NoSuchDeadLetterError
        If there is none with that id.
    UnavailableError
        If Postgres is away.
    """
    with database_errors("reading a dead letter"), connection.transaction():
        row = queries.show_dead_letter(connection, dead_letter_id=dead_letter_id)
    if row is None:
        raise NoSuchDeadLetterError(f"no dead letter {dead_letter_id}; `dead-letters list` shows what there is")
    return FullLetter(*row)


def fix(
    connection: Connection,
    dead_letter_id: int,
    raw: bytes | None = None,
    set_fields: Mapping[str, Any] | None = None,
    mappings: Mappings | None = None,
) -> FullLetter:
    """Return a dead letter after its bytes were mended for the next replay; those that came are kept beside.

    The event keeps the id of the original where that had a readable one.

    Parameters
    ----------
    connection
        In no transaction.
    dead_letter_id
        Which one.
    raw
        The whole event anew, or
    set_fields
        only what changes: path (`user_id`, `items[2].item_id`) -> JSON value. A second fix goes on from the first.
    mappings
        How messages of other services' topics are read; those that are shipped by default.

    Raises
    ------
    NoSuchDeadLetterError
        If there is none with that id.
    LetterStateError
        If it was replayed, discarded or erased.
    ContractError
        If nothing or both are given, or a path leads nowhere.
    EventError
        If landing would refuse the new bytes, with every problem; nothing is kept then.
    UnavailableError
        If Postgres is away.
    """
    if (raw is None) == (not set_fields):
        raise ContractError("a dead letter is fixed by its whole bytes or by members to set: give one of the two")
    with database_errors("fixing a dead letter"), connection.transaction():
        queries.lock_dead_letter(connection, dead_letter_id=dead_letter_id)
        letter = get(connection, dead_letter_id)
        if letter.state not in {"open", "fixed"}:
            raise LetterStateError(f"dead letter {dead_letter_id} is {letter.state}; only open ones can be fixed")
        mended = raw if raw is not None else set_members(letter.fixed_raw or letter.raw, set_fields or {})
        known = _known(mappings)
        if letter.topic not in known:  # a mapping makes ids of its own
            place = id_of_place(letter.topic, letter.partition, letter.offset, letter.landed_at)
            mended = keep_event_id(letter.raw, mended, place)
        check_bytes(letter.topic, mended, datetime.now(UTC), known)
        queries.fix_dead_letter(connection, dead_letter_id=dead_letter_id, fixed_raw=mended)
        return get(connection, dead_letter_id)


def discard(connection: Connection, ids: Sequence[int] | None, chosen: Filter) -> int:
    """Return how many open dead letters were put aside: kept and counted, but no replay sends them.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    with database_errors("discarding dead letters"), connection.transaction():
        wanted = None if ids is None else list(ids)
        return int(queries.discard_dead_letters(connection, dead_letter_ids=wanted, **asdict(chosen)))


def replay(
    connection: Connection,
    producer: EventProducer,
    ids: Sequence[int] | None,
    chosen: Filter,
    *,
    on_sent: Callable[[int], None] = lambda _: None,
    on_refused: Refusals = lambda _: None,
    force: bool = False,
    mappings: Mappings | None = None,
) -> int:
    """Return how many open dead letters were sent to their own topic again: mended bytes where there are such.

    An event keeps its id, so however often it is replayed it lands once. A letter is marked after Kafka has it. One
    that landing would refuse again is told of and stays open.

    Parameters
    ----------
    connection
        In no transaction.
    producer
        What sends.
    ids
        Only these; None for all that the filter leaves.
    chosen
        Which ones.
    on_sent
        Told how many more were sent, for a progress bar.
    on_refused
        Told of each that was not sent.
    force
        Send those that would be refused, too: each becomes a new dead letter.
    mappings
        As `fix` has it.

    Raises
    ------
    UnavailableError
        If Postgres or Kafka is away; what was sent before is marked.
    """
    known = _known(mappings)
    total = after_id = 0
    while True:
        with database_errors("replaying dead letters"), connection.transaction():
            rows = _waiting(connection, ids, chosen, after_id)
            good = [row for row in rows if _may_go(row, on_refused, known, force=force)]
            sent = [
                producer.send_bytes(row.topic, row.key, row.raw, [BACKFILL] if row.backfill else []) for row in good
            ]
            wait_all(sent, time.monotonic() + REPLAY_TIMEOUT_S)
            queries.mark_replayed(connection, dead_letter_ids=[row.dead_letter_id for row in good])
        if not rows:
            return total
        after_id = rows[-1].dead_letter_id
        total += len(good)
        on_sent(len(good))


def would_refuse(
    connection: Connection,
    ids: Sequence[int] | None,
    chosen: Filter,
    on_refused: Refusals = lambda _: None,
    mappings: Mappings | None = None,
) -> int:
    """Return how many of the letters that `replay` would take landing would refuse again, telling of each.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    known = _known(mappings)
    refused = after_id = 0
    while True:
        with database_errors("checking dead letters"), connection.transaction():
            rows = _waiting(connection, ids, chosen, after_id)
        if not rows:
            return refused
        after_id = rows[-1].dead_letter_id
        refused += sum(not _may_go(row, on_refused, known, force=False) for row in rows)


def count_open(connection: Connection, ids: Sequence[int] | None, chosen: Filter) -> int:
    """Return how many dead letters wait to be replayed or discarded.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    with database_errors("counting dead letters"), connection.transaction():
        wanted = None if ids is None else list(ids)
        return int(queries.count_open_dead_letters(connection, dead_letter_ids=wanted, **asdict(chosen)))


@dataclass(slots=True)
class _Waiting:
    """A letter as a replay reads it."""

    dead_letter_id: int
    topic: str
    partition: int
    offset: int
    key: bytes | None
    raw: bytes
    fixed: bool
    backfill: bool


def _waiting(connection: Connection, ids: Sequence[int] | None, chosen: Filter, after_id: int) -> list[_Waiting]:
    wanted = {"dead_letter_ids": None if ids is None else list(ids), "after_id": after_id, "at_most": REPLAY_AT_ONCE}
    return [_Waiting(*row) for row in queries.dead_letters_to_replay(connection, **wanted, **asdict(chosen))]


def _known(mappings: Mappings | None) -> Mappings:
    return load_mappings() if mappings is None else mappings


def _may_go(row: _Waiting, on_refused: Refusals, mappings: Mappings, *, force: bool) -> bool:
    """Return whether a letter may be sent, under the key of its event where that was mended."""
    try:
        event = check_bytes(row.topic, row.raw, datetime.now(UTC), mappings)
    except EventError as error:
        if force and len(row.raw) < MAX_MESSAGE_BYTES // 2:
            return True
        on_refused(StillRefused(row.dead_letter_id, error.code, str(error)))
        return False
    if row.fixed and row.topic not in mappings:
        row.key = address(event)[1]
    return True
