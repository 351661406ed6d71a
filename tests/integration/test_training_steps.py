"""A training run from events in a real Postgres to a version in a real MLflow, step by step as Airflow calls it."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import psycopg
import pytest
from mlflow.tracking import MlflowClient

from features.admin.user_files import scan
from features.audit import account
from features.db.connection import connect
from features.served import statistics_at
from tests.support.bad_bundle import copy_with_random_factors
from tests.support.processes import uncounted
from tests.support.serving import NOWHERE
from tests.support.taste_events import EVENTS, ITEMS, KINDS, NEW_ITEMS
from tests.support.training_run import Environment, command, filled, folder, registry, settings_of, step
from training.bundle.read import open_bundle
from training.describing import describe
from training.diff.run import data_of
from training.diff.sides import Side
from training.reproducing import reproduce
from training.steps.against_champion import diff_against_champion
from training.steps.options import read_options
from training.steps.runner import StepContext

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
STEPS = ("snapshot", "retrieval", "ranker", "evaluate", "register", "gate", "promote")

WaitUntil = Callable[..., Any]


@pytest.fixture(scope="module")
def environment(
    new_database: Callable[[], str], mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """Return the settings of a stack whose database holds the events."""
    return filled(new_database(), mlflow_uri, tmp_path_factory.mktemp("work"), "steps")


@pytest.fixture(scope="module")
def first(environment: Environment) -> Environment:
    """Return the same settings after a first run `first`, with a search of two trials, went through all steps."""
    done = command(environment, "training", "run", "--run", "first", "--factors", "8", "--tune-trials", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    return environment


def test_a_run_leaves_a_promoted_version_with_everything_that_tells_of_it(first: Environment) -> None:
    run = folder(first, "first")
    records = {name: run.finished(name) for name in STEPS}
    assert records["snapshot"].results["interactions"] == EVENTS
    assert records["gate"].outcome == "promoted"
    found = registry(first)
    version = found.by_alias("champion")
    assert version is not None
    assert version.tags["run"] == "first"
    assert version.tags["gate"] == "promoted"
    assert "against popularity" in version.tags["gate_reasons"]
    assert version.digest == records["ranker"].results["digest"]
    assert (run.path / "evaluate/report/report.html").stat().st_size > 50_000
    assert "What serves, and why" in (run.path / "evaluate/report/report.html").read_text(encoding="utf-8")
    with psycopg.connect(first["MARQUEE_DATABASE_URL"]) as connection:
        [entry, *_] = connection.execute(
            "SELECT actor, action, target, details FROM audit_events WHERE correlation_id = 'first' "
            "ORDER BY audit_event_id"
        ).fetchall()
    details = {"alias": "champion", "model": "steps", "from": None, "reason": "the gate said promoted"}
    assert entry == (account(), "promote", version.version, details)


def test_a_bundle_knows_items_that_nobody_met_by_their_texts(first: Environment) -> None:
    run = folder(first, "first")
    bundle = open_bundle(run.path / "bundle", str(run.finished("ranker").results["digest"]))
    version = registry(first).by_alias("champion")
    assert version is not None
    assert bundle.encoder == run.finished("snapshot").results["encoder"] == version.tags["encoder"]
    assert len(bundle.items) == ITEMS + NEW_ITEMS
    unmet = bundle.items.external(bundle.parts.fresh)
    assert set(unmet) == {f"i{number}" for number in range(ITEMS, ITEMS + NEW_ITEMS)}
    assert bundle.manifest.plan.budgets["fresh"] > 0
    new = int(bundle.items.index(["i103"])[0])
    near, _ = bundle.similar(new, 5, by="content")
    assert {int(item[1:]) % 5 for item in bundle.items.external(near)} == {3}
    assert not len(bundle.similar(new, 5, by="behaviour")[0])
    assert bundle.text_index is not None
    assert bundle.text_index.n_rows == ITEMS + NEW_ITEMS
    assert bundle.text_until_us > 0


def test_trials_of_a_run_are_nested_below_it_and_its_verdict_is_kept(first: Environment) -> None:
    run = folder(first, "first")
    found = run.finished("retrieval").results["tuning"]
    assert [trial["stage"] for trial in found["trials"]] == ["ranker", "ranker"]
    assert found["verdict"]["reason"] in run.finished("retrieval").summary
    client = MlflowClient(first["MARQUEE_MLFLOW_TRACKING_URI"])
    parent = client.get_run(run.finished("register").results["mlflow_run"])
    assert parent.data.params["tune_trials"] == "2"
    nested = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {entry.data.metrics["score"] for entry in nested} == {trial["score"] for trial in found["trials"]}


def test_nothing_of_the_judging_window_is_in_the_bundle(first: Environment) -> None:
    run = folder(first, "first")
    bundle = open_bundle(run.path / "bundle", str(run.finished("ranker").results["digest"]))
    frame = pd.read_parquet(run.path / "snapshot/interactions")
    before = frame["occurred_at"].astype("int64") < bundle.manifest.trained_until_us
    assert bundle.manifest.n_interactions == before.sum() < EVENTS


def test_a_finished_step_is_not_done_again(first: Environment) -> None:
    before = (folder(first, "first").path / "ranker.json").read_bytes()
    again = step(first, "ranker", "first")
    assert again.returncode == 0
    assert "finished before, nothing to do" in again.stderr
    assert (folder(first, "first").path / "ranker.json").read_bytes() == before


def test_registering_again_after_a_crash_before_its_record_gives_the_same_version(first: Environment) -> None:
    record = folder(first, "first").path / "register.json"
    before = msgspec.json.decode(record.read_bytes())["results"]
    record.unlink()
    assert step(first, "register", "first").returncode == 0
    assert msgspec.json.decode(record.read_bytes())["results"] == before
    assert [version.tags["run"] for version in registry(first).versions()].count("first") == 1


def test_a_step_names_the_one_that_must_run_first(environment: Environment) -> None:
    done = step(environment, "gate", "never-begun")
    assert done.returncode == 2
    assert "Run `python -m training step snapshot --run never-begun` first" in done.stderr


def test_too_few_events_skip_the_run_with_the_count(environment: Environment) -> None:
    done = step(environment, "snapshot", "small", "--min-events", "1000000")
    assert done.returncode == 99
    assert f"too few events to train: {EVENTS} interactions, 1000000 needed" in done.stdout
    assert step(environment, "retrieval", "small").returncode == 99
    told = command(environment, "training", "outcome", "--run", "small", "--arguments")
    assert told.stdout.split("\0")[:2] == ["--status", "skipped"]


def test_options_out_of_limits_are_named(environment: Environment) -> None:
    done = step(environment, "snapshot", "wrong", "--factors", "4")
    assert done.returncode == 2
    assert "$.factors" in done.stderr


def kill_amid(environment: Environment, name: str, word: str, log_folder: Path, wait_until: WaitUntil) -> None:
    """Kill a step of the run `killed` once its log holds a word."""
    log = log_folder / name
    with log.open("w") as stream:
        doomed = subprocess.Popen(
            [sys.executable, "-m", "training", "step", name, "--run", "killed"],
            cwd=ROOT,
            env=environment,
            stderr=stream,
        )
        wait_until(lambda: word in log.read_text(), 60, f"{name} begins")
        doomed.kill()
        doomed.wait()
    assert doomed.returncode == -signal.SIGKILL


def test_a_step_that_is_killed_in_the_middle_is_finished_by_its_retry(
    environment: Environment, wait_until: WaitUntil, tmp_path: Path
) -> None:
    for name, options in (("snapshot", ("--factors", "8")), ("retrieval", ())):
        killed = step({**environment, "MARQUEE_FAILPOINTS": "after_step=kill"}, name, "killed", *options)
        assert killed.returncode == -signal.SIGKILL
        assert folder(environment, "killed").record(name) is None
        assert step(environment, name, "killed", *options).returncode == 0
    run = folder(environment, "killed")
    kill_amid(environment, "ranker", "fitting", tmp_path, wait_until)
    assert run.record("ranker") is None
    # What a kill in the middle of writing leaves behind.
    (run.path / "bundle").mkdir(exist_ok=True)
    (run.path / "bundle/index.faiss").write_bytes(b"half")
    assert step(environment, "ranker", "killed").returncode == 0
    open_bundle(run.path / "bundle", str(run.finished("ranker").results["digest"]))
    kill_amid(environment, "evaluate", "evaluating", tmp_path, wait_until)
    assert run.record("evaluate") is None
    assert step(environment, "evaluate", "killed").returncode == 0
    assert run.finished("evaluate").results["metrics"]["ndcg@10"] > 0


def test_a_bad_bundle_is_refused_and_the_champion_stays(first: Environment) -> None:
    copy_with_random_factors(folder(first, "first"), folder(first, "bad"))
    said = {}
    for name, code in (("evaluate", 0), ("register", 0), ("gate", 0), ("promote", 99)):
        done = step(first, name, "bad")
        assert done.returncode == code, done.stderr
        said[name] = done.stdout
    found = registry(first)
    version = found.find_by_run("bad")
    champion = found.by_alias("champion")
    assert version is not None
    assert champion is not None
    assert version.tags["gate"] == "refused"
    assert "popularity: failed" in version.tags["gate_reasons"]
    assert "champion: worse" in version.tags["gate_reasons"]
    assert version.tags["gate_verdict"] == "worse"
    assert champion.tags["run"] == "first"
    assert "alias 'champion' stays: the gate said refused" in said["promote"]
    decision = json.loads((folder(first, "bad").path / "gate/decision.json").read_text())
    assert decision["users"] == folder(first, "bad").finished("evaluate").results["users"]
    assert f"gate: version {version.version} against champion {champion.version}: REFUSED" in said["gate"]
    told = json.loads(said["gate"].splitlines()[-1])
    assert (told["outcome"], told["version"], told["verdict"]) == ("refused", version.version, "worse")
    assert {"popularity", "champion"} <= set(told["stopped_by"])
    client = MlflowClient(first["MARQUEE_MLFLOW_TRACKING_URI"])
    run_id = folder(first, "bad").finished("register").results["mlflow_run"]
    assert {"gate.json", "gate"} <= {file.path for file in client.list_artifacts(run_id)}
    assert {"gate/gate.png", "gate/rules.json"} <= {file.path for file in client.list_artifacts(run_id, "gate")}


def test_a_run_that_was_asked_not_to_promote_leaves_the_champion(first: Environment, tmp_path: Path) -> None:
    rules = tmp_path / "gate.yaml"
    rules.write_text("rules: {hits: {kind: minimum, metric: hit_rate@10, at_least: 0.01}}", encoding="utf-8")
    run = folder(first, "asked-not-to")
    shutil.copytree(folder(first, "first").path, run.path)
    for name in ("register", "gate", "promote"):
        (run.path / f"{name}.json").unlink()
    options = json.loads((run.path / "options.json").read_text())
    (run.path / "options.json").write_text(json.dumps(options | {"promote": False}))
    for name, code in (("register", 0), ("gate", 0), ("promote", 99)):
        done = step({**first, "MARQUEE_GATE": str(rules)}, name, "asked-not-to")
        assert done.returncode == code, done.stderr
    assert "this run was asked not to promote" in done.stdout
    champion = registry(first).by_alias("champion")
    assert champion is not None
    assert champion.tags["run"] == "first"
    gate = run.finished("gate")
    assert (gate.outcome, gate.results["verdict"], gate.results["champion"]) == (
        "promoted",
        "not worse",
        champion.version,
    )
    assert "hits: passed: hit_rate@10" in str(registry(first).find_by_run("asked-not-to"))


def test_a_gate_file_that_is_wrong_stops_a_run_before_anything_is_fitted(first: Environment, tmp_path: Path) -> None:
    run, known = folder(first, "wrong-gate"), folder(first, "first").path
    run.path.mkdir()
    for name in ("options", "snapshot"):
        shutil.copy(known / f"{name}.json", run.path)
    rules = tmp_path / "gate.yaml"
    rules.write_text("rules: {champion: {margin: 5}}", encoding="utf-8")
    done = step({**first, "MARQUEE_GATE": str(rules)}, "retrieval", "wrong-gate")
    assert done.returncode == 2
    assert f"{rules}: rules.champion.margin: Input should be less than 1, found 5" in done.stderr
    assert run.record("retrieval") is None


def test_skew_of_what_serves_leaves_the_promotion_to_a_person_whose_answer_is_kept(first: Environment) -> None:
    run = folder(first, "while-skewed")
    shutil.copytree(folder(first, "first").path, run.path)
    for name in ("register", "gate", "promote"):
        (run.path / f"{name}.json").unlink()
    found = registry(first)
    champion = found.aliases()["champion"]
    at = datetime.now(UTC).isoformat(timespec="seconds")
    found.set_tags(champion, {"skew": "skewed", "skew_at": at, "skew_reasons": "item_idle (3 of 9)"})
    try:
        for name in ("register", "gate"):
            done = step(first, name, "while-skewed")
            assert done.returncode == 0, done.stderr
    finally:
        found.set_tags(champion, {"skew": "ok"})
    version = found.find_by_run("while-skewed")
    assert version is not None
    assert version.tags["gate"] == "needs_human"
    assert "serving path: failed: checked" in version.tags["gate_reasons"]
    assert "item_idle (3 of 9)" in version.tags["gate_reasons"]

    asked = command(uncounted(first), "training", "approval", "--run", "while-skewed")
    assert asked.returncode == 0, asked.stderr
    question = json.loads(asked.stdout)
    assert f"version {version.version}" in question["subject"]
    assert "item_idle (3 of 9)" in question["body"]
    assert f"/#/models/steps/versions/{version.version})" in question["body"]
    never = command(uncounted(first), "training", "approval", "--run", "while-skewed", "--when", "never")
    assert never.returncode == 99

    def answered(answer: str, reason: str) -> int:
        said = {"answer": answer, "by": "airflow:ana", "at": at, "reason": reason}
        done = step(first, "promote", "while-skewed", "--approval", json.dumps(said))
        run.path.joinpath("promote.json").unlink()
        return done.returncode

    assert answered("Reject", "not today") == 99
    assert found.aliases()["champion"] == champion
    assert found.version(version.version).tags["approval"] == "rejected"
    assert answered("Approve", "the skew is known") == 0
    tags = found.version(version.version).tags
    assert (tags["approval"], tags["approved_by"], tags["approved_at"]) == ("approved", "airflow:ana", at)
    assert answered("Approve", "again, as after a kill") == 0
    assert found.aliases() == {"champion": version.version, "previous": champion}

    back = command(uncounted(first), "training", "rollback", "--reason", "worse", "--by", "airflow:bo", "--run", "r 1")
    assert back.returncode == 0, back.stderr
    told = command(uncounted(first), "training", "history", "--limit", "2")
    newer, older = [line for line in told.stdout.splitlines() if "airflow:" in line]
    assert all(word in newer for word in ("airflow:bo", "rollback", "worse", "r 1"))
    assert all(word in older for word in ("airflow:ana", "promote", "approved: the skew is known"))


def test_whenever_a_late_step_is_killed_there_is_one_version_and_the_alias_is_whole(first: Environment) -> None:
    run, found = folder(first, "killed-late"), registry(first)
    shutil.copytree(folder(first, "first").path, run.path)
    for name in ("register", "gate", "promote"):
        (run.path / f"{name}.json").unlink()
    champion = found.aliases()["champion"]
    places = {
        "register": ("after_upload", "after_version", "after_step"),
        "gate": ("after_step",),
        "promote": ("after_previous", "after_alias", "after_step"),
    }
    away = {**first, "MARQUEE_MLFLOW_TRACKING_URI": NOWHERE, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    for name, killed_at in places.items():
        if name == "promote":  # MLflow went away after the version was registered
            assert step(away, name, "killed-late").returncode == 2
            assert found.aliases()["champion"] == champion
        for place in killed_at:
            killed = step({**first, "MARQUEE_FAILPOINTS": f"{place}=kill"}, name, "killed-late")
            assert killed.returncode == -signal.SIGKILL, killed.stderr
            assert run.record(name) is None
            own = [one for one in found.versions() if one.tags.get("run") == "killed-late"]
            assert len(own) <= 1
            assert all(one.digest == run.finished("ranker").results["digest"] for one in own)
            assert found.aliases()["champion"] in {champion, *(one.version for one in own)}
        done = step(first, name, "killed-late")
        assert done.returncode == 0, done.stderr
    [version] = [one for one in found.versions() if one.tags.get("run") == "killed-late"]
    assert found.aliases() == {"champion": version.version, "previous": champion}
    with psycopg.connect(first["MARQUEE_DATABASE_URL"]) as connection:
        entries = connection.execute(
            "SELECT actor, action, correlation_id, details ->> 'from' FROM audit_events WHERE target = %s",
            (version.version,),
        ).fetchall()
    assert entries == [(account(), "promote", "killed-late", champion)]
    back = ("training", "rollback", "--run", "r 2")
    for place in ("after_back", "after_alias"):
        killed = command({**uncounted(first), "MARQUEE_FAILPOINTS": f"{place}=kill"}, *back)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert found.aliases()["champion"] == champion
    for _ in range(2):
        assert command(uncounted(first), *back).returncode == 0
        assert {name: found.aliases()[name] for name in ("champion", "previous")} == {
            "champion": champion,
            "previous": version.version,
        }
    run.path.joinpath("promote.json").unlink()  # as killed after the alias moved, and tried again now
    assert step(first, "promote", "killed-late").returncode == 99
    assert found.aliases()["champion"] == champion


def test_a_version_is_not_promoted_over_one_that_the_gate_did_not_see(first: Environment) -> None:
    run = folder(first, "overtaken")
    shutil.copytree(folder(first, "first").path, run.path)
    for name in ("register", "gate", "promote"):
        (run.path / f"{name}.json").unlink()
    assert step(first, "register", "overtaken").returncode == 0
    found = registry(first)
    champion, own = found.aliases()["champion"], found.find_by_run("overtaken")
    assert own is not None
    # As the gate leaves it that looked before the present champion came.
    before = folder(first, "first").finished("gate")
    run.finish(msgspec.structs.replace(before, results=before.results | {"version": own.version, "champion": "999"}))
    done = step(first, "promote", "overtaken")
    assert done.returncode == 99
    assert f"version {champion} serves by now, and the gate judged beside 999" in done.stdout
    assert found.aliases()["champion"] == champion


def test_users_known_and_new_are_scored_in_batch(first: Environment, tmp_path: Path) -> None:
    wanted = tmp_path / "users.txt"
    wanted.write_text("u1\nnobody\nu2\nu1\n")
    done = command(first, "training", "recommend", "--users", str(wanted), "--k", "5", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "out/recommendations.parquet")
    assert list(rows.columns) == ["user_id", "item_id", "rank", "score", "source", "recommendation_id"]
    assert rows["user_id"].tolist() == [user for user in ("u1", "nobody", "u2") for _ in range(5)]
    assert rows["rank"].tolist() == [1, 2, 3, 4, 5] * 3


@pytest.fixture(scope="module")
def small(environment: Environment) -> Environment:
    """Return the same settings after a run `week` on the latest days, which is soon trained."""
    counted = command(environment, "features", "statistics")
    assert counted.returncode == 0, counted.stderr
    options = ("--factors", "8", "--window-days", "8", "--min-events", "300", "--no-promote")
    done = command(environment, "training", "run", "--run", "week", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return environment


def test_a_window_leaves_out_what_is_learned_from_and_not_what_items_had_met(small: Environment) -> None:
    run = folder(small, "week")
    bundle = open_bundle(run.path / "bundle", str(run.finished("ranker").results["digest"]))
    edge_us = bundle.parts.closed_at_us
    with connect(settings_of(small), name="test", autocommit=True) as connection:
        stored, _ = statistics_at(connection, edge_us).aligned(bundle.items)
    assert bundle.manifest.n_interactions < stored.seen.sum() / 4
    rules = {rule["rule"]: rule for rule in json.loads((run.path / "gate/decision.json").read_text())["rules"]}
    assert rules["leak"]["verdict"] == "passed"
    learned = f"learned from {bundle.manifest.n_interactions:,} of the {bundle.manifest.n_interactions:,} interactions"
    assert rules["volume"]["reason"].startswith(learned)
    expected, known = stored.at(edge_us), bundle.parts.state.at(edge_us)
    for name in ("seen", "count", "first_at_us", "decayed"):
        np.testing.assert_array_equal(getattr(known, name), getattr(expected, name), err_msg=name)


def test_a_version_is_made_again_to_the_byte_and_after_an_erasure_nearly(small: Environment) -> None:
    run = folder(small, "week")
    version = str(run.finished("register").results["version"])
    same = command(small, "training", "reproduce", version)
    assert same.returncode == 0, same.stdout + same.stderr
    assert f"version {version}: the same; " in same.stdout
    assert "0 rows taken out since" in same.stdout
    rows = [file.rows for file in scan([run.path], "u7", datetime.now(UTC)).rewritten]

    found = reproduce(settings_of(small), registry(small).version(version), now=datetime.now(UTC), tolerance=0.1)

    assert (found.verdict, found.erased_rows) == ("within tolerance", rows[0])
    assert f"{rows[0]} interactions of erased users were taken out of the snapshot since" in found.notes
    assert len(found.files) > 5
    assert [found.tags["run"] for found in registry(small).versions()].count("week") == 1


def test_two_versions_side_by_side_are_kept_with_the_second_ones_run(
    first: Environment, small: Environment, tmp_path: Path
) -> None:
    one, other = (folder(first, name).finished("register").results for name in ("first", "week"))
    versions = (str(one["version"]), str(other["version"]))
    page = tmp_path / "diff.html"
    done = command(small, "training", "diff", *versions, "--users", "30", "--out", str(page))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"version {versions[0]} -> version {versions[1]}:" in done.stdout
    assert "ndcg@10: " in done.stdout
    text = page.read_text(encoding="utf-8")
    assert any(f"{kind}, number" in text for kind in KINDS), "a list shows titles"
    client = MlflowClient(small["MARQUEE_MLFLOW_TRACKING_URI"])
    name = f"diff/{'-'.join(versions)}"
    assert {file.path for file in client.list_artifacts(other["mlflow_run"], "diff")} == {
        f"{name}.html",
        f"{name}.json",
    }
    run, found, trained = folder(small, "week"), registry(small), folder(first, "first")
    served = Side(found.version(versions[0]), open_bundle(trained.path / "bundle", str(one["digest"])))
    context = StepContext(settings_of(small), run, read_options(run))
    assert diff_against_champion(context, found, served, data_of(run)) == f"{name}.html"
    text = describe(registry(small), versions[1], "champion")
    assert f"artifacts/{name}.html" in text
    assert "interactions, snapshot `" in text


def test_the_run_in_mlflow_names_its_data_and_its_machine(small: Environment) -> None:
    run = folder(small, "week")
    client = MlflowClient(small["MARQUEE_MLFLOW_TRACKING_URI"])
    kept = client.get_run(run.finished("register").results["mlflow_run"])
    assert kept.inputs is not None
    found = {entry.tags[0].value: entry.dataset for entry in kept.inputs.dataset_inputs}
    assert set(found) == {"training", "evaluation"}
    rows = [json.loads(dataset.profile or "")["num_rows"] for dataset in found.values()]
    assert sum(rows) == run.finished("snapshot").results["interactions"]
    assert found["training"].digest == run.finished("snapshot").results["sha256"][:32]
    assert "system/cpu_utilization_percentage" in kept.data.metrics
    assert kept.data.tags["mlflow.note.content"].startswith("**Run `week`**")
