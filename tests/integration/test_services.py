"""The services that other tests build on are real and answer."""

import json
import urllib.request

import kafka
import psycopg
import pytest

pytestmark = pytest.mark.integration


def test_postgres_is_a_cluster_of_its_own_whose_roles_see_one_database_each(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        names = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles WHERE rolcanlogin")}
        may = connection.execute("SELECT has_database_privilege('mlflow', 'marquee', 'CONNECT')").fetchone()
    assert names == {"postgres", "marquee", "airflow", "mlflow"}
    assert may == (False,)


def test_kafka_keeps_what_was_produced(kafka_bootstrap: str) -> None:
    admin = kafka.KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.create_topics(["kept"])
    producer = kafka.KafkaProducer(bootstrap_servers=kafka_bootstrap, acks="all")
    written = producer.send("kept", b"value", key=b"key").get(timeout=30)
    producer.close()
    admin.close()
    assert written.offset == 0


def test_mlflow_answers_from_postgres(mlflow_uri: str, postgres_url: str) -> None:
    body = json.dumps({"max_results": 1_000}).encode()
    url = f"{mlflow_uri}/api/2.0/mlflow/experiments/search"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        experiments = json.load(response)["experiments"]
    with psycopg.connect(postgres_url.rsplit("/", 1)[0] + "/mlflow") as connection:
        stored = {row[0] for row in connection.execute("SELECT name FROM experiments")}
    assert "Default" in stored
    assert {experiment["name"] for experiment in experiments} == stored
