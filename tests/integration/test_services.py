"""The services that other tests build on are real and answer."""

import json
import os
import time
import urllib.request

import kafka
import psycopg
import pytest
from pydantic import SecretStr

from features.contracts.errors import UnavailableError
from features.kafka import EventProducer, TopicError
from features.kafka_admin import Admin
from features.kafka_sockets import connected
from features.settings import Settings

pytestmark = pytest.mark.integration


def test_postgres_is_a_cluster_of_its_own_whose_roles_see_one_database_each(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        names = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles WHERE rolcanlogin")}
        may = connection.execute("SELECT has_database_privilege('mlflow', 'marquee', 'CONNECT')").fetchone()
    assert names == {"postgres", "marquee", "airflow", "mlflow"}
    assert may == (False,)


def test_kafka_keeps_what_was_produced(kafka_bootstrap: str) -> None:
    admin = connected(kafka.KafkaAdminClient, kafka_bootstrap)
    admin.create_topics(["kept"])
    producer = connected(kafka.KafkaProducer, kafka_bootstrap, acks="all")
    written = producer.send("kept", b"value", key=b"key").get(timeout=120)
    producer.close()
    admin.close()
    assert written.offset == 0


def test_what_is_sent_to_a_producer_that_a_timeout_has_closed_can_be_sent_again(
    kafka_bootstrap: str, database_url: str
) -> None:
    settings = Settings(database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap)
    with Admin(settings) as admin:
        admin.create_topics(["closed_under_it"])
    producer = EventProducer(settings)
    producer.connect(["closed_under_it"])
    closed = producer._producer
    assert closed is not None
    closed.close()  # as `_renew_after` does in a thread of its own, where another's send timed out

    with pytest.raises(UnavailableError, match="closed"):
        producer.send_bytes("closed_under_it", None, b"value")


def test_a_producer_that_is_asked_connects_and_says_whether_a_broker_answers(
    kafka_bootstrap: str, database_url: str
) -> None:
    settings = Settings(database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap)
    producer = EventProducer(settings)
    for _ in range(3):
        producer.ask()
    connected = producer._producer
    assert connected is not None
    connected.close()
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="asking"):
        producer.ask()
    assert time.monotonic() - started < 3
    producer.close()


def test_a_message_that_the_broker_refuses_keeps_no_later_one_from_being_sent(
    kafka_bootstrap: str, database_url: str
) -> None:
    settings = Settings(database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap)
    admin = connected(kafka.KafkaAdminClient, kafka_bootstrap)
    # As it would all messages of a clock that is wrong.
    admin.create_topics({"refusing": {"num_partitions": 1, "configs": {"max.message.bytes": "1000"}}})
    admin.close()
    producer = EventProducer(settings)
    with pytest.raises(UnavailableError):
        producer.send_bytes("refusing", None, os.urandom(5_000)).result(timeout=30)
    producer.send_bytes("refusing", None, b"small").result(timeout=30)
    producer.close()


def test_a_topic_that_is_missing_is_named_and_no_longer_asked_for(kafka_bootstrap: str, database_url: str) -> None:
    settings = Settings(database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap)
    with Admin(settings) as admin:
        admin.create_topics(["there"])
    producer = EventProducer(settings)
    producer.connect(["there"])
    with pytest.raises(TopicError, match="no topic never_made; `python -m features topics`"):
        producer.connect(["never_made"])
    assert producer.connected(["there"])
    client = producer._producer
    assert client is not None
    assert client._metadata._topics == {"there"}
    producer.close()


def test_topics_are_looked_up_once_however_many_are_made(
    kafka_bootstrap: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, look_up = [], kafka.KafkaAdminClient.list_topics

    def counted(admin: kafka.KafkaAdminClient) -> object:
        asked.append(admin)
        return look_up(admin)

    monkeypatch.setattr(kafka.KafkaAdminClient, "list_topics", counted)
    settings = Settings(database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap)
    with Admin(settings) as admin:
        made = admin.create_topics(["looked_up", "looked_up_too"])
    assert {"looked_up", "looked_up_too", "looked_up_dlq"} <= set(made)
    assert len(asked) == 1


def test_mlflow_answers_from_postgres(mlflow_uri: str, postgres_url: str) -> None:
    body = json.dumps({"max_results": 1_000}).encode()
    url = f"{mlflow_uri}/api/2.0/mlflow/experiments/search"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310
        experiments = json.load(response)["experiments"]
    with psycopg.connect(postgres_url.rsplit("/", 1)[0] + "/mlflow") as connection:
        stored = {row[0] for row in connection.execute("SELECT name FROM experiments")}
    assert "Default" in stored
    assert {experiment["name"] for experiment in experiments} == stored
