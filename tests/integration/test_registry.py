"""Publishing to a real MLflow server, and what servers and people then do with the versions."""

import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import mlflow
import pytest

from features.contracts.errors import UnavailableError
from features.contracts.moves import Moved
from tests.support.processes import uncounted
from tests.support.tiny_bundle import write_tiny_bundle
from training.bundle.alias_client import AliasClient
from training.bundle.aliases import ServedAlias, move_alias, roll_back
from training.bundle.challenger import refresh_challenger
from training.bundle.read import open_bundle
from training.bundle.registry import Registry
from training.bundle.versions import TAG_ENCODER, NotThereError, RegisteredVersion, RegistryError
from training.datasets import LoggedData
from training.describing import describe
from training.publish import EXPERIMENT, Publication, publish
from training.system_metrics import SystemSample

pytestmark = pytest.mark.integration

_numbers = count()


@pytest.fixture
def registry(mlflow_uri: str) -> Registry:
    """Return a model of its own for each test."""
    return Registry(mlflow_uri, f"model-{next(_numbers)}")


def publication(folder: Path, registry: Registry, number: int = 0) -> Publication:
    """Return a tiny bundle to publish, of a training run of its own for each model."""
    bundle = folder / str(number) / "bundle"
    digest = write_tiny_bundle(bundle, seed=number)
    return Publication(
        run=f"run-{registry.model_name}-{number}",
        bundle=bundle,
        digest=digest,
        parameters={"factors": 8},
        metrics={"ndcg@10": 0.25, "recent popularity (1 day)/ndcg@10": 0.2},
        tags={"spec_hash": "abc"},
        datasets=(LoggedData(f"interactions of {folder.name}", folder, digest, 7, "training"),),
        system=[SystemSample(1_700_000_000_000 + at, {"cpu_utilization_percentage": 50.0 + at}) for at in range(3)],
        example_items=("i1", "i2"),
    )


def publish_some(folder: Path, registry: Registry, how_many: int) -> list[RegisteredVersion]:
    return [publish(registry, publication(folder, registry, number)) for number in range(how_many)]


def test_a_model_that_is_not_there_yet_is_empty(registry: Registry) -> None:
    assert registry.by_alias("champion") is None
    assert registry.aliases() == {}
    assert registry.versions() == []
    assert registry.find_by_run("run-1") is None


def test_a_version_that_is_not_there_is_named(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="training versions"):
        registry.version("99")


def test_publishing_twice_gives_one_version(registry: Registry, tmp_path: Path) -> None:
    wanted = publication(tmp_path, registry)
    first, second = publish(registry, wanted), publish(registry, wanted)
    assert first == second
    assert [version.version for version in registry.versions()] == ["1"]
    assert registry.find_by_run(wanted.run) == first


def test_a_version_has_digest_run_and_tags(registry: Registry, tmp_path: Path) -> None:
    wanted = publication(tmp_path, registry)
    version = publish(registry, wanted)
    assert version.digest == wanted.digest
    assert dict(version.tags) == {"spec_hash": "abc", "digest": wanted.digest, "run": wanted.run}


def test_versions_have_their_time_and_the_metrics_of_their_runs(registry: Registry, tmp_path: Path) -> None:
    before_us = time.time_ns() // 1000
    first, second = publish_some(tmp_path, registry, 2)
    assert before_us - 1_000_000 < first.created_at_us <= second.created_at_us < time.time_ns() // 1000 + 1_000_000
    metrics = registry.metrics([first.run_id, second.run_id, "0" * 32])
    assert set(metrics) == {first.run_id, second.run_id}
    assert metrics[first.run_id]["ndcg_at_10"] == 0.25
    assert registry.metrics([]) == {}


def test_a_broken_off_publication_goes_on_in_the_same_mlflow_run(registry: Registry, tmp_path: Path) -> None:
    wanted = publication(tmp_path, registry)
    mlflow.set_tracking_uri(registry.tracking_uri)
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(tags={"training_run": wanted.run}) as begun:
        mlflow.log_params(dict(wanted.parameters))
    assert publish(registry, wanted).run_id == begun.info.run_id


def test_the_run_holds_metrics_under_names_that_mlflow_takes(registry: Registry, tmp_path: Path) -> None:
    version = publish(registry, publication(tmp_path, registry))
    run = mlflow.MlflowClient(registry.tracking_uri).get_run(version.run_id)
    measured = {name: value for name, value in run.data.metrics.items() if not name.startswith("system/")}
    assert measured == {"ndcg_at_10": 0.25, "recent popularity 1 day/ndcg_at_10": 0.2}


def test_a_version_shows_its_data_machine_signature_and_description(registry: Registry, tmp_path: Path) -> None:
    wanted = publication(tmp_path, registry)
    version = publish(registry, wanted)
    client = mlflow.MlflowClient(registry.tracking_uri)
    _shows_data_and_machine(client, version, wanted)
    _shows_signature_and_metrics(client, version)
    _shows_a_description(client, registry, version)


def _shows_data_and_machine(client: mlflow.MlflowClient, version: RegisteredVersion, wanted: Publication) -> None:
    run = client.get_run(version.run_id)
    assert run.inputs is not None
    [logged] = run.inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == (wanted.datasets[0].name, wanted.digest[:32])
    assert json.loads(logged.dataset.profile or "") == {"num_rows": 7, "sha256": wanted.digest}
    assert json.loads(logged.dataset.source) == {"uri": str(wanted.datasets[0].folder)}
    assert [tag.value for tag in logged.tags] == ["training"]
    history = client.get_metric_history(version.run_id, "system/cpu_utilization_percentage")
    assert [(one.step, one.value) for one in history] == [(0, 50.0), (1, 51.0), (2, 52.0)]


def _shows_signature_and_metrics(client: mlflow.MlflowClient, version: RegisteredVersion) -> None:
    run = client.get_run(version.run_id)
    assert run.outputs is not None
    model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
    info = mlflow.models.get_model_info(model.model_uri)
    assert info.signature is not None
    assert info.signature.inputs.input_names() == ["user_id", "history", "k", "as_of"]
    assert info.saved_input_example_info is not None
    assert model.metrics is not None
    assert {metric.key: metric.value for metric in model.metrics}["ndcg_at_10"] == 0.25


def _shows_a_description(client: mlflow.MlflowClient, registry: Registry, version: RegisteredVersion) -> None:
    assert "not judged by the gate yet" in describe(registry, version.version, "champion")
    registry.set_tags(version.version, {"gate": "needs_human"})
    rule = {"rule": "users", "verdict": "undecided", "outcome": "needs_human", "reason": "30 users | 100 needed"}
    table = {"columns": list(rule), "data": [list(rule.values())]}
    client.log_dict(version.run_id, table, "gate.json")
    numbers = {
        "first": "7",
        "overlap@10": {"mean": 0.5},
        "metrics": {"ndcg@10": {"mean": 0.01, "low": -0.01, "high": 0.03, "verdict": "not distinguishable"}},
    }
    client.log_dict(version.run_id, numbers, "diff/7-1.json")

    text = describe(registry, version.version, "champion")

    assert client.get_model_version(registry.model_name, version.version).description == text
    assert client.get_run(version.run_id).data.tags["mlflow.note.content"] == text
    assert "gate: **needs human**" in text
    assert r"| **users**&emsp; | **undecided**&emsp; | 30 users \| 100 needed |" in text
    assert f"runs/{version.run_id}/artifacts/diff/7-1.html)&emsp; | +0.0100 [-0.0100, +0.0300] not disting" in text
    model = client.get_registered_model(registry.model_name)
    assert "move the alias `champion`" in (model.description or "")


def test_download_gives_the_bundle_that_was_published(registry: Registry, tmp_path: Path) -> None:
    wanted = publication(tmp_path, registry)
    version = publish(registry, wanted)
    folder = registry.download(version.version, tmp_path / "downloaded")
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in wanted.bundle.iterdir())
    assert open_bundle(folder, wanted.digest).digest == wanted.digest


def test_a_full_disk_is_told_from_a_server_that_is_away(registry: Registry, tmp_path: Path) -> None:
    version, small = publish(registry, publication(tmp_path, registry)), tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "marquee-full", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this account may not mount a small file system")
    try:
        with pytest.raises(OSError, match=f"No space left on device.*{small}"):
            registry.download(version.version, small)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_promotion_keeps_the_version_before_and_rollback_returns_to_it(registry: Registry, tmp_path: Path) -> None:
    publish_some(tmp_path, registry, 2)
    assert refresh_challenger(registry, "champion") == "2"
    assert move_alias(registry, "champion", "1") is None
    assert move_alias(registry, "champion", "2") == "1"
    assert registry.aliases() == {"champion": "2", "previous": "1", "challenger": "2"}
    assert refresh_challenger(registry, "champion") is None
    assert registry.aliases() == {"champion": "2", "previous": "1"}
    assert roll_back(registry, "champion") == Moved("2", "1")
    champion = registry.by_alias("champion")
    assert champion is not None
    assert champion.version == "1"


def test_moving_an_alias_to_where_it_points_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    publish_some(tmp_path, registry, 2)
    for version in ("1", "2", "2", "02"):  # MLflow takes it for 2
        move_alias(registry, "champion", version)
    assert registry.aliases() == {"champion": "2", "previous": "1"}


def test_rollback_without_a_version_before_says_so(registry: Registry, tmp_path: Path) -> None:
    publish_some(tmp_path, registry, 1)
    move_alias(registry, "champion", "1")
    with pytest.raises(RegistryError, match="no version before '1'"):
        roll_back(registry, "champion")


def test_a_run_goes_back_once_however_often_it_is_tried(registry: Registry, tmp_path: Path) -> None:
    publish_some(tmp_path, registry, 2)
    with AliasClient(registry.tracking_uri, registry.model_name) as client:
        served = ServedAlias(client, "champion")
        for version in ("1", "2"):
            served.promote(version)
        assert served.roll_back("run 1") == Moved("2", "1")
        assert registry.version("2").tags["gone_back_by"] == "run 1"
        assert served.went_back("run 1") == "1"
        client.set_alias("previous", "1")  # as killed between the two
        for _ in range(2):
            assert served.roll_back("run 1") == Moved("1", "1")
            assert (client.aliases()["champion"], client.aliases()["previous"]) == ("1", "2")
        assert served.went_back("run 2") is None
        assert served.roll_back("run 2") == Moved("1", "2")  # another run goes forth again
        assert served.roll_back() == Moved("2", "1")


def test_a_version_without_digest_is_not_promoted(registry: Registry, tmp_path: Path) -> None:
    published = publish(registry, publication(tmp_path, registry))
    known = mlflow.MlflowClient(registry.tracking_uri).get_model_version(registry.model_name, published.version)
    assert known.source is not None
    # As the button "Register model" of MLflow's page does.
    mlflow.register_model(known.source, registry.model_name)
    with pytest.raises(RegistryError, match=r"version 2 .* no tag `digest`"):
        move_alias(registry, "champion", "2")
    assert registry.aliases() == {}


def test_an_absent_server_is_told_from_a_refusal() -> None:
    with pytest.raises(UnavailableError, match="no usable answer"):
        Registry("http://127.0.0.1:9", "marquee").by_alias("champion")
    with AliasClient("http://127.0.0.1:9", "marquee") as client, pytest.raises(UnavailableError, match="no usable"):
        client.aliases()


@pytest.mark.parametrize(
    "answer",
    [
        b'{"registered_model": {"aliases": "champion"}}',
        b'{"registered_model": {"aliases": [{"alias": "champion"}]}}',
        b'{"registered_model": NaN}',
        b"[1]",
        b"<html>",
    ],
)
def test_answers_of_another_form_are_no_answers(answer: bytes) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the base class looks for this name
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(UnavailableError, match="no usable answer"):
                Registry(f"http://127.0.0.1:{server.server_port}", "marquee").by_alias("champion")
            with (
                AliasClient(f"http://127.0.0.1:{server.server_port}", "marquee") as client,
                pytest.raises(UnavailableError, match="no usable answer"),
            ):
                client.aliases()
        finally:
            server.shutdown()
            thread.join()


def test_an_alias_of_a_version_that_is_not_there_names_it(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "aliases", lambda: {"champion": "77"})
    with pytest.raises(NotThereError, match="alias 'champion' points to version 77"):
        registry.by_alias("champion")


def test_aliases_are_moved_without_mlflows_client_as_with_it(registry: Registry, tmp_path: Path) -> None:
    with AliasClient(registry.tracking_uri, registry.model_name) as client:
        assert client.aliases() == {}
        assert client.versions() == []
        publish_some(tmp_path, registry, 2)
        assert client.versions() == registry.versions()
        assert client.version("1") == registry.version("1")
        told: list[dict[str, str]] = []
        served = ServedAlias(client, "champion", lambda: told.append(registry.aliases()))
        assert served.promote("1") == Moved(None, "1")
        assert told == [{"champion": "1"}]
        assert registry.aliases() == {"champion": "1", "challenger": "2"}
        assert served.promote("2") == Moved("1", "2")
        assert served.roll_back() == Moved("2", "1")
        assert client.aliases() == registry.aliases() == {"champion": "1", "previous": "2"}
        client.set_tags("1", {TAG_ENCODER: "of texts"})
        assert (served.encoder("1"), served.encoder("2")) == ("of texts", None)
        with pytest.raises(NotThereError, match="versions` lists"):
            client.version("99")
        with pytest.raises(RegistryError, match="INVALID_PARAMETER_VALUE"):
            client.set_alias("v1", "1")  # the name of a version is none of an alias


def test_the_pyfunc_model_recommends_where_no_checkout_is(registry: Registry, tmp_path: Path) -> None:
    publish_some(tmp_path, registry, 1)
    program = (
        "import json, sys, mlflow, pandas as pd\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model(f'models:/{sys.argv[2]}/1')\n"
        "rows = pd.DataFrame({'user_id': ['a', 'b'], 'history': [['i1', 'i2'], []], 'k': [3, 2]})\n"
        "print(json.dumps(model.predict(rows).to_dict('list')))\n"
        "history = json.dumps(['i1', {'item_id': 'i2', 'action': 'view'}])\n"
        "text = pd.DataFrame({'user_id': ['a'], 'history': [history], 'k': [3]})\n"
        "print(json.dumps(model.predict(text).to_dict('list')))\n"
    )
    environment = {name: value for name, value in uncounted().items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program, registry.tracking_uri, registry.model_name],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows, text = (json.loads(line) for line in done.stdout.splitlines()[-2:])
    assert list(rows) == ["user_id", "item_id", "rank", "score", "source"]
    assert rows["user_id"] == ["a", "a", "a", "b", "b"]
    assert rows["rank"] == [1, 2, 3, 1, 2]
    assert not {"i1", "i2"} & set(rows["item_id"][:3])
    assert text["item_id"] == rows["item_id"][:3]
