"""Dead letters: kept with the batch that held them, then published from the table at least once."""

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from features.contracts.errors import UnavailableError
from features.db.connection import Connection, database_errors
from features.db.queries import queries
from features.kafka import MAX_MESSAGE_BYTES, EventProducer, Header, dead_letter_topic, wait_all
from features.landing.rows import DeadLetter, Place

PUBLISH_AT_ONCE: Final = 500
"""Dead letters of one transaction: they are locked while Kafka acknowledges them."""
PUBLISH_TIMEOUT_S: Final = 7.0
"""Longer than the producer tries, shorter than the server lets a transaction idle."""
LARGEST_RAW: Final = MAX_MESSAGE_BYTES - 65_536
"""Bytes of a message that fit into its dead letter beside the headers; the table has all of them."""

_Letter = tuple[Any, ...]
"""What `unpublished_dead_letters` gives of a letter."""
_COLUMNS: Final = (*("text", "text", "text", "int4", "int8", "text", "text", "bytea", "bytea", "bool", "timestamptz"),)


def keep_dead_letters(
    connection: Connection,
    cluster_id: str,
    topic_ids: Mapping[str, str],
    dead: Sequence[DeadLetter],
    landed_at: datetime,
) -> list[DeadLetter]:
    """Return those of a batch's dead letters that are new, after writing them in the transaction under way.

    A message that is read again, since its offset was moved back, is a letter already: it counts as a duplicate.
    """
    if not dead:
        return []
    places = [letter.place for letter in dead]
    known = queries.dead_letters_at(
        connection,
        cluster_id=cluster_id,
        topics=[place.topic for place in places],
        topic_ids=[topic_ids[place.topic] for place in places],
        partitions=[place.partition for place in places],
        offsets=[place.offset for place in places],
    )
    again = {Place(*place) for place in known}
    new = [letter for letter in dead if letter.place not in again]
    with connection.cursor() as cursor, cursor.copy(queries.copy_dead_letters.sql) as copy:
        copy.set_types(_COLUMNS)
        for letter in new:
            topic, partition, offset = letter.place
            identity = (cluster_id, topic, topic_ids[topic], partition, offset)
            fault = (letter.reason, letter.message, letter.key, letter.raw, letter.backfill)
            copy.write_row((*identity, *fault, landed_at))
    return new


class UnpublishedError(UnavailableError):
    """Kafka does not take dead letters of one topic now; those of other topics need not wait for them.

    Attributes
    ----------
    topic
        Where the letters came from.
    """

    def __init__(self, topic: str, cause: UnavailableError) -> None:
        self.topic = topic
        super().__init__(
            f"{dead_letter_topic(topic)}: {cause}; if there is no such topic, `python -m features topics` creates it; "
            f"if it is too small for a letter, set its max.message.bytes to {MAX_MESSAGE_BYTES}"
        )


def publish_dead_letters(connection: Connection, producer: EventProducer, but_not: Collection[str] = ()) -> int:
    """Return how many dead letters were sent to their topic and marked so; repeat until it returns 0.

    They are of one topic, that of the oldest. A crash between sending and marking sends them again: the key
    (topic:partition:offset) tells.

    Parameters
    ----------
    connection, producer
        Postgres and Kafka.
    but_not
        Topics whose dead letters are left for another time.

    Raises
    ------
    UnpublishedError
        If Kafka did not take all of them; what was not marked stays to be published.
    UnavailableError
        If Postgres is away.
    """
    with database_errors("publishing dead letters"), connection.transaction():
        oldest = list(queries.unpublished_dead_letters(connection, but_not=list(but_not), at_most=PUBLISH_AT_ONCE))
        letters = [letter for letter in oldest if letter[2] == oldest[0][2]]
        taken, failure = _send(producer, letters)
        queries.mark_published(connection, dead_letter_ids=taken)
    if failure is not None:
        raise UnpublishedError(letters[0][2], failure) from failure
    return len(taken)


def _send(producer: EventProducer, letters: Sequence[_Letter]) -> tuple[list[int], UnavailableError | None]:
    """Return the ids of the letters that Kafka has now, and why it does not have the others."""
    sent, taken, failure = {}, [], None
    try:
        for letter in letters:
            sent[letter[0]] = producer.send_bytes(*_message(letter))
    except UnavailableError as error:
        failure = error
    deadline = time.monotonic() + PUBLISH_TIMEOUT_S
    for dead_letter_id, future in sent.items():
        try:
            wait_all([future], deadline)
        except UnavailableError as error:
            failure = error
        else:
            taken.append(dead_letter_id)
    return taken, failure


def _message(letter: _Letter) -> tuple[str, bytes, bytes, list[Header]]:
    """Return topic, key, value and headers by which a letter travels."""
    dead_letter_id, cluster_id, topic, partition, offset, reason, message, raw = letter
    headers = [
        ("dead_letter_id", str(dead_letter_id).encode()),
        ("cluster_id", cluster_id.encode()),
        ("topic", topic.encode()),
        ("partition", str(partition).encode()),
        ("offset", str(offset).encode()),
        ("reason", reason.encode()),
        ("message", message.encode()),
    ]
    return dead_letter_topic(topic), f"{topic}:{partition}:{offset}".encode(), raw[:LARGEST_RAW], headers
