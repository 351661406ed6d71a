"""The reader of messages through rebalances: what kafka-python takes away in a poll, and what it tells of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.consumer.subscription_state import SubscriptionState
from kafka.structs import ConsumerGroupMetadata, MemberState

from features.kafka_admin import Admin, TopicIdentity
from features.landing import reader
from features.landing.reader import Reader

FIRST, SECOND = TopicPartition("t", 0), TopicPartition("t", 1)


class FakeConsumer:
    """A consumer whose partitions are kept by the library itself; a poll does what the test says."""

    def __init__(self) -> None:
        self.state = SubscriptionState()
        self.listener: Any = None
        self.joins = 0
        self.member = MemberState.UNJOINED
        self.at_poll: Callable[[], None] = lambda: None

    def subscribe(self, topics: Sequence[str], listener: ConsumerRebalanceListener) -> None:
        self.joins += 1
        self.listener = listener
        self.state.subscribe(topics=topics, listener=listener)

    def unsubscribe(self) -> None:
        self.state.unsubscribe()

    def group_metadata(self) -> ConsumerGroupMetadata:
        return ConsumerGroupMetadata("group", state=self.member)

    def topics(self) -> set[str]:
        return {"t"}

    def assignment(self) -> set[TopicPartition]:
        assigned: set[TopicPartition] = self.state.assigned_partitions()
        return assigned

    def pause(self, *partitions: TopicPartition) -> None:
        for at in partitions:
            self.state.pause(at)

    def resume(self, *partitions: TopicPartition) -> None:
        for at in partitions:
            self.state.resume(at)

    def poll(self, *, timeout_ms: int, max_records: int = 1) -> Mapping[TopicPartition, Sequence[object]]:
        del timeout_ms, max_records
        self.at_poll()
        return {}

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Do what ends a join: take partitions away and give others, and tell as the cooperative protocol does."""
        before, after = self.assignment(), set(partitions)
        self.state.assign_from_subscribed(sorted(after))
        if gone := before - after:
            self.listener.on_partitions_revoked(gone)
        if came := after - before:
            self.listener.on_partitions_assigned(came)
        self.member = MemberState.STABLE

    def lose(self) -> None:
        """Do what follows from a session that has ended."""
        self.listener.on_partitions_lost(self.assignment())
        self.state.assign_from_subscribed([])
        self.member = MemberState.UNJOINED


class FakeAdmin(Admin):
    """A cluster of one topic, whose id can change."""

    def __init__(self) -> None:
        self.topic_id = "first life"

    def identify(self, topics: Iterable[str] = (), *, missing_ok: bool = False) -> TopicIdentity:
        del missing_ok
        return TopicIdentity("cluster", self.topic_ids(topics))

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        return dict.fromkeys(topics, self.topic_id)

    def partitions(self, topics: Iterable[str]) -> frozenset[TopicPartition]:
        del topics
        return frozenset({FIRST, SECOND})

    def shared(self) -> frozenset[TopicPartition] | None:
        return None


@pytest.fixture
def consumer() -> FakeConsumer:
    return FakeConsumer()


@pytest.fixture
def admin() -> FakeAdmin:
    return FakeAdmin()


@pytest.fixture
def reading(consumer: FakeConsumer, admin: FakeAdmin) -> Reader:
    """Return a reader that has both partitions, and stands at the beginning of each."""
    reading = Reader(consumer, admin, ["t"], batch_size=10)
    consumer.assign([FIRST, SECOND])
    reading._assignment.changed = False
    reading._next = {FIRST: 0, SECOND: 0}
    return reading


def test_partitions_that_go_while_nothing_is_read_are_not_asked_for_again(
    consumer: FakeConsumer, reading: Reader
) -> None:
    reading._halted[FIRST] = "stopped"
    consumer.at_poll = lambda: consumer.assign([FIRST])

    reading.keep_membership()

    assert reading.displaced
    assert consumer.state.paused_partitions() == {FIRST}, "what is stopped stays so"

    consumer.at_poll = consumer.lose
    reading.keep_membership()
    assert consumer.assignment() == set()


def test_reading_goes_on_after_a_poll_that_only_kept_the_membership(consumer: FakeConsumer, reading: Reader) -> None:
    paused = []
    consumer.at_poll = lambda: paused.append(consumer.state.paused_partitions())

    reading.keep_membership()

    assert paused == [{FIRST, SECOND}]
    assert consumer.state.paused_partitions() == set()


def test_a_topic_made_anew_does_not_stop_a_partition_that_has_gone(
    consumer: FakeConsumer, admin: FakeAdmin, reading: Reader
) -> None:
    consumer.assign([SECOND])
    admin.topic_id = "second life"

    assert not reading.collect(wait=False)

    assert reading.displaced
    assert not reading.halted


def test_giving_partitions_away_without_getting_others_is_no_lost_assignment(
    consumer: FakeConsumer, reading: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer.assign([FIRST])
    reading.collect(wait=True)
    monkeypatch.setattr(reader, "JOIN_ANEW_S", -1.0)

    reading.collect(wait=True)

    assert consumer.joins == 1
    assert consumer.assignment() == {FIRST}
    assert reading._assignment.joining_since is None


def forget(consumer: FakeConsumer) -> None:
    """Do what the client does when a join ends between two polls: it keeps what it had, and is no member any more."""
    consumer.member = MemberState.REBALANCING


def give_and_forget(consumer: FakeConsumer) -> None:
    """Do the same after some partitions were given away."""
    consumer.assign([FIRST])
    forget(consumer)


@pytest.mark.parametrize("end", [FakeConsumer.lose, lambda consumer: consumer.assign([]), forget, give_and_forget])
def test_an_assignment_that_does_not_come_is_asked_for_again(
    consumer: FakeConsumer,
    reading: Reader,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[FakeConsumer], None],
) -> None:
    end(consumer)
    reading.collect(wait=True)
    assert consumer.joins == 1
    monkeypatch.setattr(reader, "JOIN_ANEW_S", -1.0)

    reading.collect(wait=True)

    assert consumer.joins == 2
