"""Dead letters: kept with the batch that held them, then published from the table at least once."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from features.db.connection import Connection, database_errors
from features.db.queries import queries
from features.kafka import MAX_MESSAGE_BYTES, EventProducer, dead_letter_topic, wait_all
from features.landing.rows import DeadLetter, Place

PUBLISH_AT_ONCE: Final = 500
"""Dead letters of one transaction: they are locked while Kafka acknowledges them."""
PUBLISH_TIMEOUT_S: Final = 7.0
"""Longer than the producer tries, shorter than the server lets a transaction idle."""
LARGEST_RAW: Final = MAX_MESSAGE_BYTES - 65_536
"""Bytes of a message that fit into its dead letter beside the headers; the table has all of them."""

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


def publish_dead_letters(connection: Connection, producer: EventProducer) -> int:
    """Return how many dead letters were sent to their topics and marked so; repeat until it returns 0.

    A crash between sending and marking sends them again: the key (topic:partition:offset) tells.

    Raises
    ------
    UnavailableError
        If Kafka or Postgres is away; what was not marked stays to be published.
    """
    with database_errors("publishing dead letters"), connection.transaction():
        letters = list(queries.unpublished_dead_letters(connection, at_most=PUBLISH_AT_ONCE))
        sent = [
            producer.send_bytes(
                dead_letter_topic(topic),
                f"{topic}:{partition}:{offset}".encode(),
                raw[:LARGEST_RAW],
                [
                    ("dead_letter_id", str(dead_letter_id).encode()),
                    ("cluster_id", cluster_id.encode()),
                    ("topic", topic.encode()),
                    ("partition", str(partition).encode()),
                    ("offset", str(offset).encode()),
                    ("reason", reason.encode()),
                    ("message", message.encode()),
                ],
            )
            for dead_letter_id, cluster_id, topic, partition, offset, reason, message, raw in letters
        ]
        wait_all(sent, time.monotonic() + PUBLISH_TIMEOUT_S)
        queries.mark_published(connection, dead_letter_ids=[letter[0] for letter in letters])
    return len(letters)
