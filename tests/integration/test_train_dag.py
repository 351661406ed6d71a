"""`train_recommender` run by Airflow (`dag.test()`) on real events, with a real MLflow and a real Kafka."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer

from features.kafka_sockets import connected
from tests.support.commands import run_command
from tests.support.processes import uncounted
from tests.support.taste_events import taste_events
from training.bundle.registry import Registry

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
STEPS = ("snapshot", "retrieval", "ranker", "evaluate", "register", "gate", "needs_approval", "approval", "promote")
TOPICS = tuple(f"recommendation-service.model-training-{kind}" for kind in ("started", "completed"))

Environment = dict[str, str]


@pytest.fixture(scope="module")
def environment(
    new_database: Callable[[], str], mlflow_uri: str, kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """Return the settings of a stack with events, topics, and an Airflow of its own."""
    work = tmp_path_factory.mktemp("dag")
    settings = {
        **uncounted(),
        "MARQUEE_DATABASE_URL": new_database(),
        "MARQUEE_MLFLOW_TRACKING_URI": mlflow_uri,
        "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "MARQUEE_MODEL_NAME": "dag",
        "MARQUEE_WORK_DIR": str(work),
        "AIRFLOW_HOME": str(work),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "dags" / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{work / 'airflow.db'}",
    }
    file = work / "events.parquet"
    taste_events().to_parquet(file, index=False)
    for arguments in (("topics",), ("import", "--interactions", str(file))):
        done = run_command("features", *arguments, environment=settings)
        assert done.returncode == 0, done.stderr
    return settings


def run_dag(environment: Environment, result: Path, *answer: str, **conf: Any) -> dict[str, Any]:
    """Return states of the run and of its tasks, and what was announced of it, by topic; `answer` is a person's."""
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "tests/support/airflow_dags.py"),
            str(result),
            "test",
            "train_recommender",
            json.dumps(conf),
            *answer,
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    ran: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return ran | {"announced": _announced(environment, ran["run_id"])}


def _announced(environment: Environment, run_id: str) -> dict[str, dict[str, Any]]:
    """Return the messages about one run, by the last word of their topic."""
    training = run_id.replace(":", "-").replace("+", "-")
    brokers = environment["MARQUEE_KAFKA_BOOTSTRAP_SERVERS"]
    consumer = connected(KafkaConsumer, brokers, auto_offset_reset="earliest", consumer_timeout_ms=5_000)
    consumer.subscribe(TOPICS)
    try:
        messages = [(message.topic, json.loads(message.value)) for message in consumer]
    finally:
        consumer.close()
    return {topic.rsplit("-", 1)[1]: told for topic, told in messages if told["training_id"] == training}


def test_a_run_goes_from_events_to_a_version_that_a_person_lets_through(
    environment: Environment, tmp_path: Path
) -> None:
    ran = run_dag(environment, tmp_path / "result.json", "Approve", "looks right", factors=8, approval="always")
    assert ran["state"] == "success"
    assert ran["tasks"] == dict.fromkeys(("announce_started", "data_doctor", *STEPS, "announce"), "success")
    champion = Registry(environment["MARQUEE_MLFLOW_TRACKING_URI"], "dag").by_alias("champion")
    assert champion is not None
    assert champion.tags["run"] == ran["announced"]["completed"]["training_id"]
    assert (champion.tags["approved_by"], champion.tags["approval_reason"]) == ("airflow:ana", "looks right")
    assert ran["announced"]["started"]["parameters"]["factors"] == 8
    assert ran["announced"]["completed"]["status"] == "success"
    assert ran["announced"]["completed"]["artifact_path"] == f"models:/dag/{champion.version}"
    assert ran["announced"]["completed"]["metrics"]["ndcg@10"] > 0


def test_too_few_events_skip_every_step_and_the_run_is_no_failure(environment: Environment, tmp_path: Path) -> None:
    ran = run_dag(environment, tmp_path / "result.json", min_events=1_000_000)
    assert ran["state"] == "success"
    assert {ran["tasks"][name] for name in STEPS} == {"skipped"}
    assert ran["announced"]["completed"]["status"] == "skipped"


def test_a_failed_step_fails_the_run_and_is_announced(environment: Environment, tmp_path: Path) -> None:
    away = {**environment, "MARQUEE_DATABASE_URL": "postgresql://marquee@127.0.0.1:9/marquee"}
    ran = run_dag(away, tmp_path / "result.json")
    assert ran["state"] == "failed"
    assert ran["tasks"]["data_doctor"] == "failed"
    assert ran["tasks"]["snapshot"] == "upstream_failed"
    assert ran["tasks"]["promote"] == "upstream_failed"
    assert ran["tasks"]["announce"] == "success"
    assert ran["announced"]["completed"]["status"] == "failed"


def test_a_blocking_check_stops_training_before_it_begins(environment: Environment, tmp_path: Path) -> None:
    config = tmp_path / "doctor.yaml"
    config.write_text("checks: {unknown_items: {severity: block, threshold: 0}}", encoding="utf-8")
    ran = run_dag({**environment, "MARQUEE_DOCTOR": str(config)}, tmp_path / "result.json")
    assert ran["state"] == "failed"
    assert ran["tasks"]["data_doctor"] == "failed"
    assert {ran["tasks"][name] for name in STEPS} == {"upstream_failed"}
    assert ran["announced"]["completed"]["status"] == "failed"
