"""What every DAG of ours keeps to, and the shape of those with more than one task or a form."""

from typing import Any

import pytest

SCHEDULED = ("train_recommender", "refresh_item_statistics", "reconcile_events", "retention", "skew_report")
DAGS = (*SCHEDULED, "erase_users")
STEPS = ["snapshot", "retrieval", "ranker", "evaluate", "register", "gate", "promote"]

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
    assert dag["max_active_runs"] == 1
    assert dag["timeout_s"]


@pytest.mark.parametrize("name", SCHEDULED)
def test_unpausing_starts_no_run_at_once(dag_folder: Folder, name: str) -> None:
    dag = dag_folder["dags"][name]
    assert dag["schedule"] == "CronTriggerTimetable"
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


@pytest.mark.parametrize("name", DAGS)
def test_each_task_runs_one_command_and_values_reach_it_as_variables_only(dag_folder: Folder, name: str) -> None:
    for task_id, task in dag_folder["dags"][name]["tasks"].items():
        assert "{{" not in task["command"], task_id
        assert '"$MARQUEE_PYTHON" -m ' in task["command"], task_id
        assert task["env"]["MARQUEE_PYTHON"] == "/some/python", task_id


def test_training_is_one_chain_and_is_announced_at_both_ends(dag_folder: Folder) -> None:
    dag = dag_folder["dags"]["train_recommender"]
    assert dag["order"] == ["announce_started", "data_doctor", *STEPS, "announce"]
    tasks = dag["tasks"]
    assert tasks["data_doctor"]["trigger_rule"] == "all_done"  # announcing may fail, examining must not
    assert tasks["announce"]["is_teardown"]
    assert all(tasks[name]["trigger_rule"] == "all_success" for name in STEPS)


def test_registering_is_never_repeated_by_itself(dag_folder: Folder) -> None:
    assert dag_folder["dags"]["train_recommender"]["tasks"]["register"]["retries"] == 0


def test_the_form_tells_limits_and_purpose_of_every_option(dag_folder: Folder) -> None:
    params = dag_folder["dags"]["train_recommender"]["params"]
    names = "exclude_seen factors min_events promote seed tune_minutes tune_trials window_days"
    assert sorted(params) == names.split()
    for name, schema in params.items():
        assert schema["title"], name
        assert len(schema["description"]) > 20, name
        if "integer" in schema["type"]:
            assert schema["minimum"] < schema["maximum"], name


def test_users_are_erased_by_a_form_only(dag_folder: Folder) -> None:
    dag = dag_folder["dags"]["erase_users"]
    assert dag["schedule"] == "NullTimetable"
    assert dag["start_date"] is None
    assert dag["params"]["user_ids"]["minItems"] == 1
    assert all(len(schema["description"]) > 20 for schema in dag["params"].values())
