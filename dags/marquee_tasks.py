"""What DAGs share: a task that runs one command, what is said when it fails or is late, and the assets between them."""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

ROOT: Final = Path(__file__).resolve().parent.parent

INTERACTION_EVENTS: Final = Asset("interaction_events")
"""What landed from the topic of this name; landing runs beside Airflow, so that only imports update it."""
ITEM_STATISTICS: Final = Asset("item_statistics")
"""The table of this name."""
ENOUGH_NEW_EVENTS: Final = Asset("enough_new_events")
"""Updated when so much has landed since the last training that another is due."""
RECOMMENDER_VERSION: Final = Asset("recommender_version")
"""A version of the model in MLflow."""
CHAMPION: Final = Asset("champion")
"""The version that serves."""

LATE: Final = (
    "see on the run's page where it stands: a task that is queued waits for a worker, a run for the one before it; "
    "`make logs S=airflow-scheduler` tells more."
)

log = logging.getLogger(__name__)


def who() -> str:
    """Return the template of who started a run: a user of Airflow, or Airflow by its schedule."""
    return "{{ 'airflow:' ~ dag_run.triggering_user_name if dag_run.triggering_user_name else 'airflow' }}"


def command(  # each is a fact of the task
    task_id: str,
    line: str,
    *,
    doc: str,
    minutes: int,
    retries: int,
    env: Mapping[str, str] | None = None,
    **more: Any,
) -> BashOperator:
    """Return a task that runs one command in the checkout; exit code 99 shows it as skipped.

    Parameters
    ----------
    env
        Values of the form, templated: they reach the shell as variables, never as text of a command.
    more
        Of the operator: inlets, outlets, trigger rule.
    """
    return BashOperator(
        task_id=task_id,
        bash_command=line,
        env={"MARQUEE_PYTHON": os.environ.get("MARQUEE_PYTHON", sys.executable), **(env or {})},
        append_env=True,
        cwd=str(ROOT),
        doc_md=doc,
        retries=retries,
        execution_timeout=timedelta(minutes=minutes),
        **more,
    )


def defaults(next_step: str) -> dict[str, Any]:
    """Return what all tasks of a DAG have; the log of one that has failed for good ends with the next step."""
    return {"owner": "marquee", "retry_delay": timedelta(seconds=30), "on_failure_callback": _says(next_step)}


def deadline(hours: float, next_step: str = LATE) -> DeadlineAlert:
    """Return the alert about runs that are not done some hours after their logical date: it shows on the DAG's page.

    Runs without a logical date (of assets, and by API) have only their timeout. Counting from when a run was queued
    would cover them, but tasks of such runs cannot be cleared: Airflow 3.3.2 answers with an internal error.
    """
    return DeadlineAlert(
        name=f"done within {hours:g} h",
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=timedelta(hours=hours),
        callback=SyncCallback(say_late, kwargs={"hours": hours, "next_step": next_step}),
    )


def say_late(hours: float, next_step: str, context: Mapping[str, Any] | None = None) -> None:
    """Log that a run is late; called by Airflow."""
    run = (context or {}).get("dag_run", {})
    log.error("run %s is not done after %g h. Next step: %s", run.get("dag_run_id", ""), hours, next_step)


def _says(next_step: str) -> Callable[[Mapping[str, Any]], None]:
    def say(context: Mapping[str, Any]) -> None:
        log.error("task %s failed. Next step: %s", context["ti"].task_id, next_step)

    return say
