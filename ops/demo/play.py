"""Play a data set through Kafka, as a service that sends its history would."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import kafka
import numpy as np
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from features.contracts.columns import ACTION, CATEGORIES, ITEM, OCCURRED_AT, TEXT, TITLE, USER, VALUE
from features.kafka import BACKFILL, INTERACTIONS, ITEMS
from features.kafka_sockets import connected
from features.settings import Settings
from ops.demo.dataset import DataError, Dataset

NAMESPACE = UUID("7a3c1c3e-3a57-5d8e-9d52-0c6f3a1b8e11")
NEWEST_IS = timedelta(hours=1)
STEP = 1_000  # events between two movements of the bar


def shift_s(dataset: Dataset, now: datetime) -> int:
    """Return the seconds to add to every time, so that the newest interaction is an hour old at `now`."""
    return int((now - NEWEST_IS).timestamp()) - int(dataset.interactions[OCCURRED_AT].max())


def _instant(seconds: int) -> str:
    """Return seconds since 1970 in the wire form."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def item_events(dataset: Dataset, shift: int) -> Iterator[tuple[str, bytes]]:
    """Yield key and wire form of every item, known since a day before the first interaction."""
    known = _instant(int(dataset.interactions[OCCURRED_AT].min()) + shift - 86_400)
    for row in dataset.items[[ITEM, TITLE, TEXT, CATEGORIES]].to_dict("records"):
        event = {
            "type": "item",
            "schema_version": 1,
            # From the row itself: played again, it is the same event.
            "event_id": str(uuid5(NAMESPACE, f"{dataset.name}/item/{row[ITEM]}")),
            "occurred_at": known,
            "item_id": row[ITEM],
            "title": row[TITLE],
            "text": row[TEXT],
            "categories": row[CATEGORIES],
        }
        yield row[ITEM], orjson.dumps(event)


def interaction_events(dataset: Dataset, shift: int) -> Iterator[tuple[str, bytes]]:
    """Yield key and wire form of every interaction, oldest first."""
    columns = (dataset.interactions[name].tolist() for name in (USER, ITEM, ACTION, VALUE, OCCURRED_AT))
    for number, (user, item, action, value, seconds) in enumerate(zip(*columns, strict=True)):
        row = f"{dataset.name}/interaction/{number}/{user}/{item}/{action}/{value}/{seconds}"
        event = {
            "type": "interaction",
            "schema_version": 1,
            "event_id": str(uuid5(NAMESPACE, row)),
            "occurred_at": _instant(seconds + shift),
            "user_id": user,
            "item_id": item,
            "action": action,
            "value": None if np.isnan(value) else value,
        }
        yield user, orjson.dumps(event)


def play(dataset: Dataset, settings: Settings, now: datetime, console: Console) -> dict[str, int]:
    """Return topic -> number of events that Kafka acknowledged, which is all of them.

    Raises
    ------
    DataError
        Where the broker refused one.
    """
    shift = shift_s(dataset, now)
    producer = connected(
        kafka.KafkaProducer,
        settings.kafka_bootstrap_servers,
        acks="all",
        compression_type="lz4",
        linger_ms=20,
        batch_size=262_144,
    )
    counts = {ITEMS: len(dataset.items), INTERACTIONS: len(dataset.interactions)}
    bar = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*bar, console=console) as progress:
            for topic, events in ((ITEMS, item_events), (INTERACTIONS, interaction_events)):
                task = progress.add_task(topic, total=counts[topic])
                for done in _send(producer, topic, events(dataset, shift)):
                    progress.update(task, completed=done)
    finally:
        producer.close()
    return counts


def _send(producer: kafka.KafkaProducer, topic: str, events: Iterator[tuple[str, bytes]]) -> Iterator[int]:
    """Yield now and then how many `events` were sent to `topic`, marked as history, and at the end how many there were.

    Raises
    ------
    DataError
        Where the broker has not acknowledged one of them.
    """
    refused: list[BaseException] = []
    number = 0
    for number, (key, value) in enumerate(events, start=1):
        producer.send(topic, value, key=key.encode(), headers=[BACKFILL]).add_errback(refused.append)
        if number % STEP == 0:
            yield number
    producer.flush()
    if refused:
        raise DataError(f"Kafka refused {len(refused)} events of {topic}, the first with: {refused[0]}")
    yield number
