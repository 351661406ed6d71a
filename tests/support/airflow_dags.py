"""Airflow in a process of its own: `describe` tells what the DAG folder holds, `test DAG CONF` runs a DAG once.

Usage: ``python tests/support/airflow_dags.py RESULT_FILE describe`` or ``... RESULT_FILE test DAG_ID CONF_JSON [ANSWER
REASON]``, with what a person answers whom the run asks. The environment names AIRFLOW_HOME and the database; the result
is JSON.
"""

import json
import os
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from airflow.dag_processing.dagbag import BundleDagBag, DagBag, sync_bag_to_db
from airflow.models.dagbag import DBDagBag
from airflow.models.dagbundle import DagBundleModel
from airflow.models.deadline import Deadline
from airflow.models.hitl import HITLDetail, HITLUser
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.models.trigger import handle_event_submit
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, timezone
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import TimeRestriction
from airflow.triggers.base import TriggerEvent
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select

ANY_TIME = TimeRestriction(earliest=None, latest=None, catchup=False)
REQUIRED = {"user_ids": ["u1"], "version": "1", "reason": "a test"}
"""Fields of forms without a default."""
HEAVY = ("pandas", "numpy", "lightgbm", "implicit", "mlflow", "features", "training", "serving")


def _task(task: Any) -> dict[str, Any]:
    return {
        "owner": task.owner,
        "retries": task.retries,
        "timeout_s": None if task.execution_timeout is None else task.execution_timeout.total_seconds(),
        "doc": task.doc_md,
        "command": getattr(task, "bash_command", None),
        "env": getattr(task, "env", None),
        "inlets": sorted(asset.name for asset in task.inlets),
        "outlets": sorted(asset.name for asset in task.outlets),
        "says_next_step": bool(task.on_failure_callback),
        "trigger_rule": str(task.trigger_rule.value),
        "is_teardown": task.is_teardown,
        "upstream": sorted(task.upstream_task_ids),
    }


def _param(param: Any) -> dict[str, Any]:
    return {**param.schema, "description": param.description}


def _waits_for_next_tick(timetable: Any) -> bool | None:
    """Return whether Airflow gives a DAG that is unpaused just after a tick its first run at the next one."""
    if not isinstance(timetable, CronTriggerTimetable | AssetOrTimeSchedule):
        return None
    known, now = decode_timetable(encode_timetable(timetable)), timezone.utcnow()

    def first_run() -> Any:
        found = known.next_dagrun_info(last_automated_data_interval=None, restriction=ANY_TIME)
        return found and found.run_after

    tick = first_run()
    with patch("airflow.timetables.trigger.utcnow", lambda: tick + timedelta(seconds=30)):
        return bool(now < tick < first_run())


def _dag(dag: Any) -> dict[str, Any]:
    return {
        "doc": dag.doc_md,
        "description": dag.description,
        "tags": sorted(dag.tags),
        "catchup": dag.catchup,
        "start_date": None if dag.start_date is None else dag.start_date.isoformat(),
        "max_active_runs": dag.max_active_runs,
        "timeout_s": None if dag.dagrun_timeout is None else dag.dagrun_timeout.total_seconds(),
        "schedule": type(dag.timetable).__name__,
        "started_by": [asset.name for asset in getattr(dag.timetable.asset_condition, "objects", ())],
        "deadline_s": [alert.interval.total_seconds() for alert in dag.deadline],
        "deadline_from": [alert.reference.reference_name for alert in dag.deadline],
        "waits_for_next_tick": _waits_for_next_tick(dag.timetable),
        "params": {name: _param(dag.params.get_param(name)) for name in dag.params},
        "tasks": {task.task_id: _task(task) for task in dag.tasks},
        "order": [task.task_id for task in dag.topological_sort()],
    }


def _late_after_s(bag: DagBag) -> dict[str, float]:
    """Return, of a run by API of each DAG, how long after its beginning it is late; its task is cleared, too.

    Clearing counts the deadline anew where it counts from the queueing, at which Airflow 3.3.2 breaks.
    """
    found = {}
    with create_session() as session:
        session.add(DagBundleModel(name="dags"))
        session.flush()
        sync_bag_to_db(bag, "dags", None, session=session)
        for dag_id, dag in bag.dags.items():
            known = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
            assert known is not None
            required = {name: given for name, given in REQUIRED.items() if name in dag.params}
            run = known.create_dagrun(
                run_id="manual__1",
                run_after=timezone.utcnow(),
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.QUEUED,
                conf=required,
                session=session,
            )
            session.flush()
            [deadline] = session.scalars(select(Deadline).where(Deadline.dagrun_id == run.id))
            clear_task_instances(run.get_task_instances(session=session), session)
            found[dag_id] = (deadline.deadline_time - run.run_after).total_seconds()
    return found


def _bag() -> DagBag:
    """Return the DAG folder as Airflow's own processes read it: with the folder among those that are imported from."""
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    return BundleDagBag(dag_folder=folder, bundle_path=folder)


def describe() -> dict[str, Any]:
    """Return what the DAG folder holds, and which libraries parsing it loaded."""
    loaded = set(sys.modules)
    bag = _bag()
    return {
        "errors": bag.import_errors,
        "loaded": sorted(name for name in HEAVY if name in set(sys.modules) - loaded),
        "dags": {name: _dag(dag) for name, dag in bag.dags.items()},
        "late_after_s": _late_after_s(bag),
    }


def answer(chosen: str, reason: str) -> None:
    """Answer the first question that a run asks, as the page of required actions does."""
    while True:
        with create_session() as session:
            asked = session.scalar(select(HITLDetail))
            waits = None if asked is None else session.get(TaskInstance, asked.ti_id)
            if asked is not None and waits is not None and waits.state == TaskInstanceState.AWAITING_INPUT:
                asked.responded_by = HITLUser(id="ana", name="ana")
                asked.responded_at = timezone.utcnow()
                asked.chosen_options = [chosen]
                asked.params_input = {"reason": reason}
                event: Any = TriggerEvent(asked.as_resume_event_payload())  # type: ignore[no-untyped-call]
                handle_event_submit(event, task_instance=waits, session=session)
                return
        time.sleep(0.2)


def test(dag_id: str, conf: str, *answered: str) -> dict[str, Any]:
    """Run a DAG once in this process, and return the states of the run and of its tasks."""
    dag = _bag().dags[dag_id]
    dag.deadline = None  # `dag.test()` breaks at deadlines: apache/airflow#73428
    if answered:
        threading.Thread(target=answer, args=answered, daemon=True).start()
    for task in dag.tasks:
        task.retry_delay = timedelta(0)  # what is retried shows as well at once
    run = dag.test(run_conf=json.loads(conf))
    return {
        "state": str(run.state),
        "run_id": run.run_id,
        "tasks": {instance.task_id: str(instance.state) for instance in run.get_task_instances()},
    }


if __name__ == "__main__":
    result_file, action, *arguments = sys.argv[1:]
    initdb()
    result = describe() if action == "describe" else test(*arguments)
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")
