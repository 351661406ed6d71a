"""Batch scoring of real Postgres and MLflow: the parts it leaves, what a kill costs, and what Kafka hears of it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from kafka import KafkaConsumer
from pydantic import SecretStr

from features.admin.erasure import erase
from features.contracts.batch import BatchDone, BatchRun, part_name
from features.contracts.erasure import ErasureSecretError
from features.db.connection import connect
from features.kafka import REFRESHED
from features.kafka_admin import Admin
from features.kafka_sockets import connected
from features.settings import Settings
from tests.support.commands import run_command
from tests.support.processes import uncounted
from tests.support.taste_events import USERS, taste_events
from tests.support.tiny_bundle import write_tiny_bundle
from training.batch_folder import BatchFolder
from training.bundle.registry import Registry
from training.publish import Publication, publish
from training.recommending import Asked, recommend_batch

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ["user_id", "item_id", "rank", "score", "source", "recommendation_id"]

Environment = dict[str, str]


def command(environment: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, environment=uncounted(environment))


def recommend(environment: Environment, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return command(environment, "training", "recommend", "--k", "5", "--out", str(out), *options)


def put_version(environment: Environment, folder: Path, seed: int) -> None:
    """Publish a bundle of all items, and let the champion alias point to it."""
    digest = write_tiny_bundle(folder / "bundle", seed=seed, n_items=100)
    registry = Registry(environment["MARQUEE_MLFLOW_TRACKING_URI"], environment["MARQUEE_MODEL_NAME"])
    version = publish(
        registry,
        Publication(
            run=f"batch-{seed}",
            bundle=folder / "bundle",
            digest=digest,
            parameters={},
            metrics={},
            tags={},
            example_items=("i1", "i2"),
        ),
    )
    registry.set_alias("champion", version.version)


def with_events(database_url: str, mlflow_uri: str, work: Path) -> Environment:
    """Return the settings of a database, with events in it."""
    settings = {
        **os.environ,
        "MARQUEE_DATABASE_URL": database_url,
        "MARQUEE_MLFLOW_TRACKING_URI": mlflow_uri,
        "MARQUEE_MODEL_NAME": "batch",
    }
    file = work / "events.parquet"
    taste_events().to_parquet(file, index=False)
    imported = command(settings, "features", "import", "--interactions", str(file))
    assert imported.returncode == 0, imported.stderr
    return settings


@pytest.fixture(scope="module")
def environment(
    new_database: Callable[[], str], mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """Return the settings of a stack with events and a served version, and two items that may not be shown."""
    work = tmp_path_factory.mktemp("batch")
    settings = with_events(new_database(), mlflow_uri, work)
    with connect(Settings(database_url=SecretStr(settings["MARQUEE_DATABASE_URL"])), name="test") as connection:
        connection.execute(
            "INSERT INTO items (item_id, event_id, title, text, categories, attributes, hidden, expires_at, "
            "occurred_at, changed_at) VALUES ('i1', 'e1', '', '', '{}', '{}', true, NULL, now(), now()), "
            "('i2', 'e2', '', '', '{}', '{}', false, now() - interval '1 hour', now(), now())"
        )
    put_version(settings, work, seed=0)
    return settings


@pytest.fixture
def with_kafka(environment: Environment, kafka_bootstrap: str) -> Environment:
    """Return the settings with a broker."""
    database_url = SecretStr(environment["MARQUEE_DATABASE_URL"])
    with Admin(Settings(database_url=database_url, kafka_bootstrap_servers=kafka_bootstrap)) as admin:
        admin.create_topics()
    return environment | {"MARQUEE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap}


def test_everyone_is_scored_into_parts_and_what_may_not_be_shown_is_left_out(
    environment: Environment, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = recommend(environment, out, "--part-users", "60")
    assert done.returncode == 0, done.stderr
    assert "250 of 250 users" in done.stderr
    assert len(list((out / "recommendations.parquet").glob("part-*.parquet"))) == 5
    rows = pd.read_parquet(out)
    assert list(rows.columns) == COLUMNS
    assert rows.groupby("user_id").size().to_dict() == {f"u{number}": 5 for number in range(USERS)}
    assert not {"i1", "i2"} & set(rows["item_id"])
    assert rows.groupby("user_id")["recommendation_id"].nunique().max() == 1
    assert rows["recommendation_id"].nunique() == USERS
    success = json.loads((out / "_SUCCESS").read_text())
    assert (success["lists"], success["rows"], success["parts"]) == (USERS, 5 * USERS, 5)
    assert success["run"] == json.loads((out / "_run.json").read_text())
    assert not (out / "_work").exists()


def test_killed_in_the_middle_it_goes_on_and_gives_what_an_unbroken_run_gives(
    environment: Environment, tmp_path: Path
) -> None:
    users = tmp_path / "users.txt"
    users.write_text("\n".join(f"u{number}" for number in range(6_000)))  # most of them are new
    options = ("--users", str(users), "--part-users", "50")
    out, whole = tmp_path / "out", tmp_path / "whole"
    parts = out / "recommendations.parquet"
    arguments = [sys.executable, "-m", "training", "recommend", "--k", "5", "--out", str(out), *options]
    with subprocess.Popen(arguments, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as doomed:
        while len(list(parts.glob("part-*.parquet"))) < 3:
            assert doomed.poll() is None
            time.sleep(0.01)
        doomed.kill()
    before = {file.name: file.stat().st_mtime_ns for file in parts.glob("part-*.parquet")}
    assert not (out / "_SUCCESS").exists()
    assert len(before) < 120

    again = recommend(environment, out, *options)

    assert again.returncode == 0, again.stderr
    assert f"{len(before)} were finished before" in again.stderr
    assert {name: (parts / name).stat().st_mtime_ns for name in before} == before
    as_of = json.loads((out / "_run.json").read_text())["as_of"]
    assert recommend(environment, whole, *options, "--as-of", as_of).returncode == 0
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(whole))
    assert pd.read_parquet(out)["user_id"].drop_duplicates().tolist() == users.read_text().split("\n")
    assert not list(parts.glob(".*"))


def test_a_batch_whose_hidden_items_were_not_kept_begins_anew_at_its_own_moment(
    environment: Environment, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert recommend(environment, out, "--part-users", "60").returncode == 0
    before = pd.read_parquet(out)
    # As an earlier version of the command left it: begun, and without the file that this one reads.
    (out / "_SUCCESS").unlink()
    (out / "recommendations.parquet" / "part-00004.parquet").unlink()
    again = recommend(environment, out, "--part-users", "60")
    assert again.returncode == 0, again.stderr
    assert "0 were finished before" in again.stderr
    pd.testing.assert_frame_equal(pd.read_parquet(out), before)


def test_lists_of_something_else_are_refused_and_restart_replaces_them(
    environment: Environment, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert recommend(environment, out).returncode == 0
    run = json.loads((out / "_run.json").read_text())
    refused = recommend(environment, out, "--as-of", run["as_of"], "--k", "6")
    assert refused.returncode == 2
    assert "k = 5, not 6" in refused.stderr
    assert "--restart" in refused.stderr
    later = recommend(environment, out)
    assert later.returncode == 2
    assert "not now" in later.stderr
    same = recommend(environment, out, "--as-of", run["as_of"])
    assert same.returncode == 0
    assert "nothing to do" in same.stderr
    put_version(environment, tmp_path, seed=1)
    moved = recommend(environment, out, "--as-of", run["as_of"])
    assert moved.returncode == 2
    assert f"of version {run['version']}, not" in moved.stderr
    assert recommend(environment, out, "--as-of", run["as_of"], "--version", run["version"]).returncode == 0
    assert recommend(environment, out, "--restart").returncode == 0
    assert json.loads((out / "_run.json").read_text())["digest"] != run["digest"]


def test_lists_are_announced_once_each_by_user(with_kafka: Environment, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = recommend(with_kafka, out, "--part-users", "100", "--publish")
    assert done.returncode == 0, done.stderr
    assert "250 lists announced" in done.stdout
    brokers = with_kafka["MARQUEE_KAFKA_BOOTSTRAP_SERVERS"]
    consumer = connected(KafkaConsumer, brokers, auto_offset_reset="earliest", consumer_timeout_ms=5_000)
    consumer.subscribe([REFRESHED])
    messages = [(message.key, json.loads(message.value)) for message in consumer]
    consumer.close()
    ids = pd.read_parquet(out).groupby("user_id")["recommendation_id"].first().to_dict()
    found = {said["user_id"]: said for _, said in messages if said["recommendation_ids"][0] in set(ids.values())}
    assert {user: said["recommendation_ids"] for user, said in found.items()} == {
        user: [one] for user, one in ids.items()
    }
    assert {key.decode() for key, _ in messages} >= set(ids)
    finished_at = json.loads((out / "_SUCCESS").read_text())["finished_at"]
    assert found["u1"] == {
        "user_id": "u1",
        "recommendation_ids": [ids["u1"]],
        "model_id": "batch",
        "timestamp": finished_at,
    }


def test_what_is_not_finished_is_not_announced(with_kafka: Environment, tmp_path: Path) -> None:
    refused = command(with_kafka, "features", "announce", "refreshed", "--lists", str(tmp_path))
    assert refused.returncode == 2
    assert "holds no finished lists" in refused.stderr


@pytest.fixture
def own(environment: Environment, database_url: str, mlflow_uri: str, tmp_path: Path) -> Settings:
    """Return the settings of a database whose users may be erased; the served version is everybody's."""
    with_events(database_url, mlflow_uri, tmp_path)
    return Settings(
        database_url=SecretStr(database_url),
        kafka_bootstrap_servers="127.0.0.1:9",
        mlflow_tracking_uri=mlflow_uri,
        model_name=environment["MARQUEE_MODEL_NAME"],
        erasure_secret=SecretStr("of a test"),
        work_dir=tmp_path / "work",
    )


def erased(settings: Settings, user_id: str) -> None:
    with connect(settings, name="test") as connection:
        erase(settings, connection, user_id, datetime.now(UTC))


def batch(settings: Settings, folder: BatchFolder, progress: Callable[[str], None] = lambda _: None) -> BatchDone:
    return recommend_batch(settings, Asked(k=5, part_users=60), folder, now=datetime.now(UTC), progress=progress)


def everyone_but(user_id: str) -> dict[str, int]:
    return {f"u{number}": 5 for number in range(USERS) if f"u{number}" != user_id}


@pytest.mark.parametrize("last", [False, True])
def test_finished_lists_hold_nobody_who_was_erased_while_they_were_made(
    own: Settings, tmp_path: Path, *, last: bool
) -> None:
    class Folder(BatchFolder):
        def counted(self, run: BatchRun, finished_at: datetime) -> BatchDone:
            """Erase the user after it was asked who was erased."""
            if last and not told:
                told.append("erased")
                erased(own, "u7")
            return super().counted(run, finished_at)

    def tell(words: str) -> None:
        if not last and not told and "users/s" in words:
            told.append(words)
            erased(own, "u7")

    told: list[str] = []
    done = batch(own, Folder(tmp_path / "out"), tell)
    assert told
    assert pd.read_parquet(tmp_path / "out").groupby("user_id").size().to_dict() == everyone_but("u7")
    assert (done.lists, done.rows) == (USERS - 1, 5 * (USERS - 1))


def broken_off(own: Settings, folder: BatchFolder) -> None:
    """Begin a batch, and leave it with three of its parts."""

    def tell(words: str) -> None:
        if "users/s" in words and (folder.lists / part_name(2)).exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batch(own, folder, tell)


def test_a_batch_that_goes_on_after_an_erasure_loses_that_user_and_nobody_else(own: Settings, tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path / "out")
    broken_off(own, folder)
    user = str(pd.read_parquet(folder.lists / part_name(0))["user_id"][0])
    erased(own, user)

    with pytest.raises(ErasureSecretError, match="MARQUEE_ERASURE_SECRET is empty"):
        batch(own.model_copy(update={"erasure_secret": SecretStr("")}), folder)
    batch(own, folder)
    assert pd.read_parquet(tmp_path / "out").groupby("user_id").size().to_dict() == everyone_but(user)


def test_what_a_user_had_and_retention_deleted_is_not_recommended_again_also_where_a_batch_goes_on(
    own: Settings, tmp_path: Path
) -> None:
    with connect(own, name="test", autocommit=True) as connection:
        had = {user: set(items) for user, items in connection.execute("SELECT user_id, item_ids FROM user_seen")}
        connection.execute(
            "DELETE FROM interactions WHERE (user_id, occurred_at) NOT IN "
            "(SELECT user_id, max(occurred_at) FROM interactions GROUP BY user_id)"
        )

    folder = BatchFolder(tmp_path / "out")
    broken_off(own, folder)
    with connect(own, name="test", autocommit=True) as connection:
        connection.execute("TRUNCATE user_seen")  # what is scored was frozen when the batch began
    batch(own, folder)

    lists = pd.read_parquet(folder.path).groupby("user_id")["item_id"].agg(set).to_dict()
    assert len(lists) == USERS
    assert {user: items & had[user] for user, items in lists.items() if items & had[user]} == {}
