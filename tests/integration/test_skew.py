"""The skew guard on what a real server recorded: parity, planted skew, and what the gate makes of it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from features.build.live_statistics import refresh_statistics
from features.kafka import BACKFILL
from features.settings import Settings
from ops.local.ports import free_port
from tests.conftest import WaitUntil
from tests.support.commands import run_command
from tests.support.landing import Rig, interaction, recreate_topics
from tests.support.processes import uncounted
from tests.support.serving import Api
from tests.support.trained import rated, train
from training.bundle.bundle import Bundle
from training.bundle.registry import Registry
from training.bundle.versions import RegisteredVersion
from training.publish import Publication, publish
from training.skew.check import Asked, check
from training.skew.publish import EXPERIMENT, publish_result, write_result
from training.skew.remake import GONE, INLINE, OWN_CANDIDATES
from training.skew.result import Result
from training.skew.rules import GuardRules
from training.skew.verdict import serving_rule

if TYPE_CHECKING:
    import subprocess

pytestmark = pytest.mark.integration

USERS = 40


@dataclass
class Served:
    """Lists that a server recorded, and what they were made from."""

    rig: Rig
    bundle: Bundle
    registry: Registry
    environment: dict[str, str]
    folder: Path

    def found(self) -> Result:
        """Return what a check finds, and tag the version with it; without a process of its own."""
        version = self.version()
        result = check(self.rig.settings, self.registry, version, Asked(datetime.now(UTC), 24, 1_000))
        write_result(result, self.folder / "again")
        publish_result(self.registry, version, result, self.folder / "again")
        return result

    def command(self, *options: str) -> tuple["subprocess.CompletedProcess[str]", dict[str, Any]]:
        """Return what the command did, and what it found."""
        out = self.folder / "out"
        done = run_command("training", "skew", "--out", str(out), *options, environment=self.environment)
        assert done.returncode in {0, 1}, done.stderr
        return done, json.loads((out / "skew.json").read_text())

    def version(self) -> RegisteredVersion:
        """Return the version that serves."""
        found = self.registry.by_alias("champion")
        assert found is not None
        return found


@pytest.fixture(scope="module")
def served(
    new_database: Callable[[], str],
    kafka_bootstrap: str,
    mlflow_uri: str,
    tmp_path_factory: pytest.TempPathFactory,
    wait_until: WaitUntil,
) -> Iterator[Served]:
    """Yield lists of each user, recorded by a server of a registered version; more was done since."""
    folder = tmp_path_factory.mktemp("skew")
    settings = Settings(database_url=SecretStr(new_database()), kafka_bootstrap_servers=kafka_bootstrap)
    recreate_topics(settings, partitions=2)
    rig, rng = Rig(settings), np.random.default_rng(7)
    rig.produce([rated(number, rng) for number in range(2_900)], headers=[BACKFILL])
    rig.land_all()
    bundle = train(settings, folder)
    rig.produce([rated(number, rng) for number in range(2_900, 3_000)])  # live: known only since they landed
    rig.land_all()
    refresh_statistics(settings)
    registry = Registry(mlflow_uri, "skew")
    plain = Publication(
        run="skew",
        bundle=bundle.path,
        digest=bundle.digest,
        parameters={},
        metrics={},
        tags={},
        example_items=("i1",),
    )
    registry.set_alias("champion", publish(registry, plain).version)
    environment = {
        **{name: rig.environment[name] for name in ("MARQUEE_DATABASE_URL", "MARQUEE_KAFKA_BOOTSTRAP_SERVERS")},
        "MARQUEE_MLFLOW_TRACKING_URI": mlflow_uri,
        "MARQUEE_MODEL_NAME": "skew",
        "MARQUEE_CACHE_DIR": str(folder / "bundles"),
        "MARQUEE_WORK_DIR": str(folder / "work"),
        "MARQUEE_RECORD_SHARE": "1",
    }
    api = Api(free_port(), environment, folder / "api.log")
    try:
        api.start()
        wait_until(lambda: api.info()["version"] == "1", 60, "the version is served")
        asked: list[dict[str, Any]] = [{"user_id": f"u{number}", "k": 10} for number in range(USERS)]
        asked += [
            {"user_id": "u1", "history": [{"item_id": "i5", "action": "like"}]},
            {"user_id": "u2", "candidates": [f"i{number}" for number in range(48)]},
            {"user_id": "nobody"},
        ]
        for body in asked:
            assert api.client.post("/api/v1/recommend", json=body).status_code == 200
        count = "SELECT 1 FROM served_lists"
        wait_until(lambda: len(rig.rows(count)) == len(asked), 30, "all lists are recorded")
        rig.produce([interaction(9_000 + n, user_id=f"u{n}", item_id="i7", action="like") for n in range(USERS)])
        rig.land_all()
        yield Served(rig, bundle, registry, {**uncounted(), **rig.environment, **environment}, folder)
    finally:
        api.end()
        rig.end()


def test_what_was_served_is_what_training_makes_of_it(served: Served) -> None:
    done, found = served.command()
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "ok"
    assert found["lists"]["recorded"] == USERS + 3
    assert found["lists"]["compared"] == USERS
    assert found["lists"]["left_out"] == {INLINE: 1, OWN_CANDIDATES: 1}
    assert found["parity"]["rows"] > 1_000
    assert found["parity"]["different_rows"] == found["parity"]["candidates_missing"] == 0
    assert [one["name"] for one in found["parity"]["features"]] == list(served.bundle.spec.names)
    assert "at least 200 are needed" in found["drift"]["unknown"]
    assert {column["name"] for column in found["drift"]["columns"]} == {"score", *served.bundle.spec.names}

    tags = served.version().tags
    assert (tags["skew"], tags["skew_at"]) == ("ok", found["checked_at"])
    client = MlflowClient(served.registry.tracking_uri)
    run = client.get_run(tags["skew_run"])
    assert run.data.metrics["rows"] == found["parity"]["rows"]
    assert run.data.metrics["psi/score"] == pytest.approx(found["drift"]["columns"][_place(found, "score")]["psi"])
    assert {"report.html", "skew.json"} <= {entry.path for entry in client.list_artifacts(run.info.run_id)}
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    assert run.info.experiment_id == experiment.experiment_id


def test_a_value_served_otherwise_is_named_and_keeps_the_gate_from_promoting(served: Served) -> None:
    row = (
        "SELECT recommendation_id, candidate_rows, feature_names, candidate_ids FROM served_lists WHERE user_id = 'u5'"
    )
    [(list_id, raw, names, item_ids)] = served.rig.rows(row)
    rows = np.frombuffer(raw, "<f4").reshape(-1, len(names)).copy()
    rows[3, names.index("user_events")] += 1
    change = "UPDATE served_lists SET candidate_rows = %s WHERE recommendation_id = %s"
    served.rig.rows(change, rows.tobytes(), list_id, fetch=False)
    done, found = served.command("--prometheus")
    assert done.returncode == 1
    assert found["status"] == "skewed"
    assert (found["lists"]["different"], found["parity"]["different_rows"]) == (1, 1)
    [feature] = [one for one in found["parity"]["features"] if one["different"]]
    assert (feature["name"], feature["largest_difference"]) == ("user_events", 1.0)
    assert feature["example"]["recommendation_id"] == list_id
    assert feature["example"]["item_id"] == item_ids[3]
    samples = [s for family in text_string_to_metric_families(done.stdout) for s in family.samples]
    values = {(sample.name, *sample.labels.values()): sample.value for sample in samples}
    assert values["marquee_skew_feature_different", "user_events"] == 1
    assert values["marquee_skew_status", "skewed"] == 1

    rule = serving_rule(served.version().tags, datetime.now(UTC), GuardRules())
    assert rule.verdict == "failed"
    assert "user_events (1 of" in rule.reason
    served.rig.rows(change, raw, list_id, fetch=False)
    assert served.found().status == "ok"
    assert served.version().tags["skew"] == "ok"


def test_an_event_that_is_not_what_it_was_is_skew_and_one_that_is_gone_is_left_out(served: Served) -> None:
    [(event_id, value)] = served.rig.rows(
        "SELECT event_id, value FROM interactions WHERE user_id = 'u9' AND action = 'rating' "
        "ORDER BY known_at DESC LIMIT 1"
    )
    change = "UPDATE interactions SET value = %s WHERE event_id = %s"
    served.rig.rows(change, 0.5 if value > 3 else 5.0, event_id, fetch=False)
    found = served.found()
    assert found.status == "skewed"
    assert "user_liked" in {one.name for one in found.parity.worst()}
    served.rig.rows(change, value, event_id, fetch=False)

    # As if the event had been erased, but so that it can come back.
    move = "UPDATE interactions SET user_id = %s WHERE event_id = %s"
    count = "UPDATE consumer_offsets SET erased = erased + %s"
    served.rig.rows(move, "nobody", event_id, fetch=False)
    assert served.found().parity.left_out[GONE] == 1
    served.rig.rows(count, 1, fetch=False)
    found = served.found()
    assert (found.rows_gone > 0, found.parity.lists, found.parity.different) == (True, USERS - 1, 0)
    served.rig.rows(count, -1, fetch=False)
    served.rig.rows(move, "u9", event_id, fetch=False)


def _place(found: dict[str, Any], name: str) -> int:
    return [column["name"] for column in found["drift"]["columns"]].index(name)
