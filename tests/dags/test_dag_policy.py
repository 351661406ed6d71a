"""What every DAG of ours keeps to, and the shape of those with more than one task or a form."""

import re
from typing import Any

import pytest

SCHEDULED = (
    "train_recommender",
    "refresh_item_statistics",
    "reconcile_events",
    "retention",
    "skew_report",
    "data_doctor",
)
BY_FORM = ("erase_users", "promote_model", "rollback_model", "backfill")
DAGS = (*SCHEDULED, *BY_FORM)
STEPS = ["snapshot", "retrieval", "ranker", "evaluate", "register", "gate"]
TASKS = ["announce_started", "data_doctor", *STEPS, "needs_approval", "approval", "promote", "announce"]

Folder = dict[str, Any]


def test_the_folder_holds_our_dags_without_errors(dag_folder: Folder) -> None:
    assert dag_folder["errors"] == {}
    assert sorted(dag_folder["dags"]) == sorted(DAGS)


def test_parsing_loads_no_heavy_library_and_nothing_of_ours(dag_folder: Folder) -> None:
    assert dag_folder["loaded"] == []


@pytest.mark.parametrize("name", DAGS)
def test_each_dag_is_explained_and_bounded(dag_folder: Folder, name: str) -> None:
    dag = dag_folder["dags"][name]
    assert len(dag["doc"]) > 200
    assert dag["description"]
    assert "marquee" in dag["tags"]
    assert "**When it fails" in dag["doc"] or "**When a task fails" in dag["doc"]
    assert dag["max_active_runs"] == 1
    [late_after_s] = dag["deadline_s"]
    assert 0 < late_after_s < dag["timeout_s"]
    # Which every run has. Of runs whose deadline counts from their queueing no task can be cleared (Airflow 3.3.2).
    assert dag["deadline_from"] == ["RunAfter"]


@pytest.mark.parametrize("name", DAGS)
def test_a_run_that_no_tick_made_is_late_as_well_and_can_be_cleared(dag_folder: Folder, name: str) -> None:
    assert dag_folder["late_after_s"][name] == dag_folder["dags"][name]["deadline_s"][0]


@pytest.mark.parametrize("name", SCHEDULED)
def test_unpausing_starts_no_run_at_once(dag_folder: Folder, name: str) -> None:
    dag = dag_folder["dags"][name]
    assert dag["schedule"] == ("AssetOrTimeSchedule" if name == "train_recommender" else "CronTriggerTimetable")
    assert dag["waits_for_next_tick"]
    # With a start date Airflow would make up for the tick before it, whatever run_immediately says.
    assert dag["start_date"] is None
    assert dag["catchup"] is False


@pytest.mark.parametrize("name", DAGS)
def test_each_task_has_owner_retries_timeout_and_docs(dag_folder: Folder, name: str) -> None:
    for task_id, task in dag_folder["dags"][name]["tasks"].items():
        assert task["owner"] == "marquee", task_id
        assert 0 < task["timeout_s"] <= dag_folder["dags"][name]["timeout_s"], task_id
        assert task["retries"] is not None, task_id
        assert task["doc"], task_id
        assert task["says_next_step"], task_id


@pytest.mark.parametrize("name", DAGS)
def test_each_task_runs_one_command_and_values_reach_it_as_variables_only(dag_folder: Folder, name: str) -> None:
    for task_id, task in dag_folder["dags"][name]["tasks"].items():
        if task_id == "approval":  # waits for a person
            continue
        assert "{{" not in task["command"], task_id
        assert '"$MARQUEE_PYTHON" -m ' in task["command"], task_id
        assert task["env"]["MARQUEE_PYTHON"] == "/some/python", task_id


def test_training_is_one_chain_and_is_announced_at_both_ends(dag_folder: Folder) -> None:
    dag = dag_folder["dags"]["train_recommender"]
    assert dag["order"] == TASKS
    tasks = dag["tasks"]
    assert tasks["data_doctor"]["trigger_rule"] == "all_done"  # announcing may fail, examining must not
    assert tasks["announce"]["is_teardown"]
    assert all(tasks[name]["trigger_rule"] == "all_success" for name in (*STEPS, "needs_approval", "approval"))
    # Where nobody is asked, approving is skipped; where there are too few events, the gate is as well.
    assert tasks["promote"]["trigger_rule"] == "none_failed_min_one_success"
    assert tasks["promote"]["upstream"] == ["approval", "gate"]


def test_assets_lead_from_landed_data_to_the_version_that_serves(dag_folder: Folder) -> None:
    dags = dag_folder["dags"]
    training = dags["train_recommender"]["tasks"]
    assert dags["refresh_item_statistics"]["tasks"]["enough_new_events"]["outlets"] == ["enough_new_events"]
    assert dags["train_recommender"]["started_by"] == ["enough_new_events"]
    assert training["snapshot"]["inlets"] == ["interaction_events", "item_statistics"]
    assert training["register"]["inlets"] == ["interaction_events", "item_statistics"]
    assert training["register"]["outlets"] == ["recommender_version"]
    assert training["promote"]["outlets"] == ["champion"]
    for name in ("promote_model", "rollback_model"):
        assert [task["outlets"] for task in dags[name]["tasks"].values()] == [["champion"]]


def test_a_rollback_is_never_repeated_by_itself(dag_folder: Folder) -> None:
    assert dag_folder["dags"]["rollback_model"]["tasks"]["rollback"]["retries"] == 0


def test_registering_is_never_repeated_by_itself(dag_folder: Folder) -> None:
    assert dag_folder["dags"]["train_recommender"]["tasks"]["register"]["retries"] == 0


@pytest.mark.parametrize("dag", DAGS)
def test_a_form_tells_limits_and_purpose_of_every_option(dag_folder: Folder, dag: str) -> None:
    for name, schema in dag_folder["dags"][dag]["params"].items():
        assert not hasattr(dict, name), name  # a template would read the method
        assert schema["title"], name
        assert len(schema["description"]) > 20, name
        if "integer" in schema["type"]:
            assert schema["minimum"] < schema["maximum"], name


def test_an_approval_ends_before_the_next_nights_training(dag_folder: Folder) -> None:
    dag = dag_folder["dags"]["train_recommender"]
    steps_s = dag["deadline_s"][0]
    assert steps_s + dag["params"]["approval_hours"]["maximum"] * 3600 < dag["timeout_s"] < 24 * 3600


@pytest.mark.parametrize("name", BY_FORM)
def test_what_changes_things_at_once_is_started_by_a_form_only(dag_folder: Folder, name: str) -> None:
    dag = dag_folder["dags"][name]
    assert dag["schedule"] == "NullTimetable"
    assert dag["start_date"] is None
    assert dag["params"]


def test_users_to_erase_and_versions_to_promote_must_be_named(dag_folder: Folder) -> None:
    dags = dag_folder["dags"]
    assert dags["erase_users"]["params"]["user_ids"]["minItems"] == 1
    # Of an id that holds a line break the command would make two.
    refused = dags["erase_users"]["params"]["user_ids"]["items"]["not"]["pattern"]
    assert [bool(re.search(refused, user)) for user in ("ann\ncarl", "ann\r", " ann ")] == [True, True, False]
    # As many as the form takes, each as long as it may be, fit into one variable of a process on Linux: 128 KiB.
    ids = dags["erase_users"]["params"]["user_ids"]
    longest = "\U0001f3ac" * ids["items"]["maxLength"]
    variable = "USER_IDS=" + "\n".join([longest] * ids["maxItems"])
    assert len(variable.encode()) < 128 * 1024
    assert f"At most {ids['maxItems']} in a run" in ids["description"]
    assert dags["promote_model"]["params"]["version"]["pattern"] == "^[0-9]{1,9}$"
    assert dags["promote_model"]["params"]["reason"]["minLength"] > 0


def test_what_may_be_left_empty_does_not_hold_up_a_form(dag_folder: Folder) -> None:
    for dag, field in (("rollback_model", "reason"), ("backfill", "interactions_file"), ("backfill", "items_file")):
        assert "null" in dag_folder["dags"][dag]["params"][field]["type"], (dag, field)
