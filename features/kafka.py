"""The one place that knows the broker, with its neighbours `kafka_*`: topics, client settings, producing."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, TypeVar

from kafka import KafkaConsumer, KafkaProducer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    FencedInstanceIdError,
    IllegalStateError,
    KafkaConfigurationError,
    KafkaError,
    KafkaTimeoutError,
)

from features.contracts.errors import MarqueeError, UnavailableError
from features.contracts.events import Event, Feedback, Impression, Interaction, Item, User, encode_event
from features.contracts.mappings import load_mappings
from features.kafka_batches import tell_unreadable
from features.kafka_bulk import BulkSender, Done, Message
from features.kafka_sockets import ANSWER_S, connected
from features.settings import Settings

INTERACTIONS: Final = "interaction_events"
ITEMS: Final = "catalog_items"
USERS: Final = "catalog_users"
IMPRESSIONS: Final = "impressions"
FEEDBACK: Final = "model_feedback"
EVENT_TOPICS: Final = (INTERACTIONS, ITEMS, USERS, IMPRESSIONS, FEEDBACK)

TRAINING_STARTED: Final = "recommendation-service.model-training-started"
TRAINING_COMPLETED: Final = "recommendation-service.model-training-completed"
REFRESHED: Final = "recommendation-service.recommendations-refreshed"
PROCESSED_FEATURES: Final = "processed_features"
PUBLISHED_TOPICS: Final = (TRAINING_STARTED, TRAINING_COMPLETED, REFRESHED, PROCESSED_FEATURES)
PUBLISHED_OF_USERS: Final = (REFRESHED, PROCESSED_FEATURES)
"""Those whose messages name a user. We never read them."""

PARTITIONS: Final = 4
DLQ_SUFFIX: Final = "_dlq"
BACKFILL: Final = ("backfill", b"1")
"""The header of history: such an event is known since it occurred, not since it landed."""
LANDING_GROUP: Final = "marquee-landing"

MAX_MESSAGE_BYTES: Final = 2_097_152
"""Largest message that our producers send: twice the broker's usual limit, for dead letters with their reason."""

LINGER_MS: Final = 5
"""Waiting a little fills batches when events come densely, and is not felt when they do not."""
DELIVERY_MS: Final = 6_000
"""After this a message that Kafka did not acknowledge has failed: who sent it should hear it soon."""

Header = tuple[str, bytes]
_Client = TypeVar("_Client")


class SlotTakenError(MarqueeError):
    """Another process joined landing's group under this process's slot, and has its partitions now."""


class TopicError(UnavailableError):
    """A topic that is needed does not exist (yet)."""


def landed_topics(settings: Settings) -> tuple[str, ...]:
    """Return the topics that are landed: ours, and those of other services that the mappings name.

    Raises
    ------
    MappingError
        If the mappings cannot be read.
    """
    return (*EVENT_TOPICS, *load_mappings(settings.mappings))


def dead_letter_topic(topic: str) -> str:
    """Return the name of the topic that takes another's dead letters."""
    return topic + DLQ_SUFFIX


def address(event: Event) -> tuple[str, bytes]:
    """Return the topic and the key under which an event travels: what must stay in order shares a key."""
    match event:
        case Interaction():
            return INTERACTIONS, str(event.user_id).encode()
        case Impression():
            return IMPRESSIONS, str(event.user_id).encode()
        case Item():
            return ITEMS, str(event.item_id).encode()
        case User():
            return USERS, str(event.user_id).encode()
        case Feedback():
            return FEEDBACK, event.recommendation_id.encode()


def message_of(event: Event) -> Message:
    """Return an event as it travels."""
    return Message(*address(event), encode_event(event))


def open_client(kind: Callable[..., _Client], settings: Settings, **options: object) -> _Client:
    """Return a client of the brokers that the settings name; see `features.kafka_sockets.connected`."""
    # Brokers come back after seconds; kafka-python's default waits up to 30 s before it looks again.
    return connected(kind, settings.kafka_bootstrap_servers, reconnect_backoff_max_ms=1_000, **options)


@contextmanager
def kafka_errors(doing: str) -> Iterator[None]:
    """Turn the client's errors into ours while doing what the words say.

    Raises
    ------
    SlotTakenError
        If the group knows another process by our slot.
    UnavailableError
        If the client could not do it.
    """
    try:
        yield
    except FencedInstanceIdError as error:
        raise SlotTakenError(
            f"Kafka, {doing}: another landing process took over this one's --slot and its partitions; nothing is lost. "
            "If it was not meant to, give each process a slot of its own, or none."
        ) from error
    except (KafkaConfigurationError, IllegalStateError):
        raise  # our own mistakes: trying again would not help
    except KafkaError as error:
        raise UnavailableError(f"Kafka, {doing}: {type(error).__name__}: {error}") from error


@contextmanager
def _still_open(doing: str) -> Iterator[None]:
    """Say that a producer cannot be reached any more which another's timeout has closed: `kafka_errors` lets that pass.

    Raises
    ------
    UnavailableError
        If it is closed: to send again makes a new one.
    """
    try:
        yield
    except IllegalStateError as error:
        raise UnavailableError(f"Kafka, {doing}: {error}") from error


def open_consumer(settings: Settings, *, slot: str | None = None) -> KafkaConsumer:
    """Return landing's consumer: offsets are ours to keep, so Kafka commits nothing by itself.

    Parameters
    ----------
    settings
        Where the brokers are.
    slot
        A name that survives restarts (static membership): the next process of that name takes over at once.

    Raises
    ------
    UnavailableError
        If no broker answers.
    """
    with kafka_errors("opening the consumer"):
        consumer = open_client(
            KafkaConsumer,
            settings,
            metrics_enabled=False,
            group_id=LANDING_GROUP,
            group_instance_id=slot,
            client_id="marquee-landing",
            enable_auto_commit=False,
            # What a transaction took back never happened; what one holds open is read once it is committed.
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            bootstrap_timeout_ms=5_000,
            # A killed member's partitions move on after this; the broker allows no less than 6 s.
            session_timeout_ms=6_000,
            heartbeat_interval_ms=1_500,
            # Far above a batch; a database that is away for longer costs us the partitions, which the fence covers.
            max_poll_interval_ms=120_000,
            max_poll_records=10_000,
            fetch_max_wait_ms=200,
            # Partitions that stay where they are go on being read while others move.
            partition_assignment_strategy=(CooperativeStickyAssignor,),
            max_partition_fetch_bytes=4_194_304,
            allow_auto_create_topics=False,
        )
    tell_unreadable(consumer)
    return consumer


class EventProducer:
    """Sends events and waits for `acks=all`; safe to share between threads, and to make while Kafka is away.

    It connects at the first send, again after a failure to connect, and anew after a send that timed out: kafka-python
    3.0.12 sends nothing any more to a partition of which a batch expired while the broker was away, and nothing at all
    after a batch that the broker refused, by a clock that was wrong for example. What timed out may still have arrived:
    the event's id makes sending it again harmless.
    """

    def __init__(self, settings: Settings, *, linger_ms: int = LINGER_MS, delivery_ms: int = DELIVERY_MS) -> None:
        self._settings = settings
        self._linger_ms, self._delivery_ms = linger_ms, delivery_ms
        self._lock = threading.Lock()
        self._producer: KafkaProducer | None = None
        self._bulk: BulkSender | None = None

    def _connected(self) -> KafkaProducer:
        with self._lock, kafka_errors("connecting the producer"):
            if self._producer is None:
                self._producer = open_client(
                    KafkaProducer,
                    self._settings,
                    metrics_enabled=False,
                    acks="all",
                    compression_type="lz4",
                    linger_ms=self._linger_ms,
                    batch_size=262_144,
                    max_request_size=MAX_MESSAGE_BYTES,
                    bootstrap_timeout_ms=1_000,
                    # No metadata within this: Kafka is away, and the caller should hear it soon.
                    max_block_ms=1_000,
                    request_timeout_ms=3_000,
                    delivery_timeout_ms=self._delivery_ms,
                    allow_auto_create_topics=False,
                )
                self._bulk = BulkSender(self._producer)
            return self._producer

    def connect(self, topics: Iterable[str]) -> None:
        """Return once messages to these topics can be handed over without waiting.

        Raises
        ------
        UnavailableError
            If no broker answered within about a second: `TopicError` where one did, and has no such topic.
        """
        producer = self._connected()
        for topic in topics:
            with kafka_errors(f"looking up {topic!r}"):
                _look_up(producer, topic)

    def ask(self, topics: Iterable[str] = ()) -> set[str]:
        """Return which of some topics are missing, once a broker has told; it is connected to where that is yet to be.

        Raises
        ------
        UnavailableError
            If none did within about a second for each.
        """
        producer, answered = self._connected(), threading.Event()
        cluster = producer._metadata  # noqa: SLF001  # by itself it asks every five minutes
        # Of all topics, this once: one that is asked for by its name and missing is asked for ten times a second.
        cluster.need_all_topic_metadata = True
        try:
            news = cluster.request_update()
            news.add_both(lambda _: answered.set())
            if not answered.wait(ANSWER_S) or news.failed():
                raise UnavailableError(f"Kafka, asking: no broker answers within {ANSWER_S} s")
        except (RuntimeError, ReferenceError) as error:
            raise UnavailableError(f"Kafka, asking: a timeout has closed the producer: {error}") from error
        finally:
            cluster.need_all_topic_metadata = False
        return {topic for topic in topics if cluster.partitions_for_topic(topic) is None}

    def connected(self, topics: Iterable[str]) -> bool:
        """Return whether `send_many` can take messages to these topics."""
        bulk = self._bulk
        return bulk is not None and all(bulk.knows(topic) for topic in topics)

    def send_many(self, messages: Sequence[Message], done: Done) -> None:
        """Hand messages over without waiting; `done` hears of each, once, in a thread of the client's own.

        Parameters
        ----------
        messages
            To topics of which `connected` said yes.
        done
            Told the places of messages that all replicas have, or whose sending failed.

        Raises
        ------
        UnavailableError
            If the producer is not connected, or was closed meanwhile, of which `done` may then hear too.
        """
        bulk = self._bulk
        # One made anew, after a send timed out, knows only topics that it was asked for since.
        if bulk is None or not all(bulk.knows(topic) for topic in {message.topic for message in messages}):
            raise UnavailableError("Kafka, sending: the producer is not connected")
        with _still_open("sending"):
            bulk.send(messages, partial(self._heard, self._producer, done))

    def send(self, event: Event, headers: Sequence[Header] = ()) -> "Future[None]":
        """Return a future that is done once all replicas have the event, or holds an `UnavailableError`.

        Raises
        ------
        UnavailableError
            If no broker could be reached within about a second.
        """
        topic, key = address(event)
        return self.send_bytes(topic, key, encode_event(event), headers)

    def send_bytes(self, topic: str, key: bytes | None, value: bytes, headers: Sequence[Header] = ()) -> "Future[None]":
        """Return the same future for a message that is bytes already.

        Raises
        ------
        UnavailableError
            If no broker could be reached within about a second.
        """
        done: Future[None] = Future()
        # From here on it cannot be cancelled: the client's thread will set it.
        done.set_running_or_notify_cancel()
        producer = self._connected()
        doing = f"sending to {topic!r}"
        with _still_open(doing), kafka_errors(doing):
            sent = producer.send(topic, key=key, value=value, headers=list(headers))
        sent.add_callback(lambda _: done.set_result(None))
        sent.add_errback(partial(self._failed, producer, done))
        return done

    def _failed(self, producer: KafkaProducer, done: "Future[None]", error: BaseException) -> None:
        self._renew_after(producer, error)
        done.set_exception(UnavailableError(f"Kafka did not take it: {error!r}"))

    def _heard(
        self, producer: KafkaProducer | None, done: Done, places: Sequence[int], failure: BaseException | None
    ) -> None:
        self._renew_after(producer, failure)
        done(places, failure)

    def _renew_after(self, producer: KafkaProducer | None, error: BaseException | None) -> None:
        """Let the next send connect anew if this one sends no more; what is under way fails, and can be sent again."""
        if producer is None or error is None or not _is_spent(producer, error):
            return
        with self._lock:
            if producer is not self._producer:
                return
            self._producer = self._bulk = None
        # This is its own thread, which closing waits for.
        threading.Thread(target=_abandon, args=(producer,), name="close-producer", daemon=True).start()

    def publish(self, events: Iterable[Event], timeout_s: float = 5, headers: Sequence[Header] = ()) -> None:
        """Send events and return once all replicas have all of them.

        Raises
        ------
        UnavailableError
            If that did not happen within the time; some of them may have arrived, or may still.
        """
        deadline = time.monotonic() + timeout_s
        wait_all([self.send(event, headers) for event in events], deadline)

    def close(self, timeout_s: float = 5) -> None:
        """Send what is still waiting and disconnect."""
        with self._lock:
            producer, self._producer, self._bulk = self._producer, None, None
        if producer is not None:
            try:
                producer.close(timeout=timeout_s)
            except KafkaTimeoutError:
                _abandon(producer)


def no_topic(topic: str) -> str:
    """Return what is said of a topic that is missing."""
    return f"Kafka has no topic {topic}; `python -m features topics` creates it"


def _look_up(producer: KafkaProducer, topic: str) -> None:
    """Return once a producer knows the partitions of a topic; of one that is not there it asks no more.

    Raises
    ------
    TopicError
        If brokers answered meanwhile, but have no such topic.
    KafkaTimeoutError
        If none answered within about a second.
    """
    cluster, asked_ms = producer._metadata, time.monotonic() * 1000  # noqa: SLF001  # else nothing tells them apart
    try:
        producer.partitions_for(topic)
    except KafkaTimeoutError as error:
        if cluster._last_successful_refresh_ms < asked_ms:  # noqa: SLF001
            raise
        # It would ask ten times a second for ever. Another set: its own thread may be going through this one.
        cluster._topics = cluster._topics - {topic}  # noqa: SLF001
        raise TopicError(no_topic(topic)) from error


def _is_spent(producer: KafkaProducer, error: BaseException) -> bool:
    """Return whether a producer may send nothing any more after a message of its failed."""
    manager = producer._transaction_manager  # noqa: SLF001  # the library tells nobody else
    return isinstance(error, KafkaTimeoutError) or (manager is not None and manager.has_fatal_error())


def _abandon(producer: KafkaProducer) -> None:
    """Close a producer without waiting for what it holds; its own `close` waits, and gives up half closed."""
    producer._sender.force_close()  # noqa: SLF001
    with suppress(KafkaError):
        producer.close(timeout=2)


def wait_all(sent: Iterable["Future[None]"], deadline: float) -> None:
    """Return once all futures of sends are done.

    Parameters
    ----------
    sent
        What `EventProducer.send` returned.
    deadline
        On the clock of `time.monotonic`.

    Raises
    ------
    UnavailableError
        If one failed, or the deadline passed.
    """
    for future in sent:
        try:
            future.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError as error:
            raise UnavailableError("Kafka did not acknowledge in time; sending again is harmless") from error
