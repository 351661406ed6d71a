"""What `announce` says where Kafka does not answer."""

from concurrent.futures import Future

import pytest

from features.cli import announce
from features.contracts.errors import UnavailableError
from features.kafka import EventProducer


def test_a_broker_that_does_not_acknowledge_in_time_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def unanswered(*_: object) -> "Future[None]":
        # A broker that takes a message and never answers cannot be had from a real one.
        return Future()

    monkeypatch.setattr(EventProducer, "send_bytes", unanswered)
    monkeypatch.setattr(announce, "TIMEOUT_S", 0.05)
    monkeypatch.setenv("MARQUEE_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(UnavailableError, match="did not acknowledge in time"):
        announce.announce(announce.Kind.STARTED, run="nightly-1")
