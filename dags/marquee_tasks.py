"""What DAGs share: a task that runs one command, how a DAG of ours is bounded and explained, assets between them.

Airflow reads files that hold the words `airflow` and `dag`: the first line of each of ours does.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, CronTriggerTimetable, Param, dag
from airflow.sdk.bases.timetable import BaseTimetable
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert
from marquee_deadlines import RunAfter

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


def marquee_dag(
    *,
    description: str,
    doc: str,
    next_step: str,
    tag: str,
    late_after: timedelta,
    gone_after: timedelta,
    late: str = LATE,
    schedule: BaseTimetable | None = None,
    params: Mapping[str, Param] | None = None,
) -> Callable[[Callable[[], None]], Callable[[], Any]]:
    """Return a decorator of the function that builds a DAG of ours, which bears the function's name.

    There is one run at a time, and none is made up for.

    Parameters
    ----------
    doc
        Its page in Airflow, Markdown.
    next_step
        With what the log of a task ends that has failed for good.
    tag
        Beside `marquee`: what it is about.
    late_after, gone_after
        When a run is late, which shows on the DAG's page, and when it is given up.
    late
        What to do about a late one.
    schedule
        See `every`; None: it runs only when its form is sent.
    params
        Fields of its form.
    """
    return dag(
        description=description,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=gone_after,
        default_args={
            "owner": "marquee",
            "retry_delay": timedelta(seconds=30),
            "on_failure_callback": _says(next_step),
        },
        deadline=_deadline(late_after, late),
        tags=["marquee", tag],
        doc_md=doc,
        schedule=schedule,
        params=dict(params or {}),
    )


def every(cron: str) -> CronTriggerTimetable:
    """Return a schedule in UTC whose first run, once the DAG is unpaused, is at the next tick.

    To go with no start date, for which Airflow would make up for the tick before it. (`run_immediately=False` is read
    as "within a tenth of the interval": apache/airflow 3.3.)
    """
    return CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta())


def move(task_id: str, line: str, *, doc: str, retries: int, env: Mapping[str, str], **more: Any) -> BashOperator:
    """Return the task that moves the alias of the version that serves, by a command of ours.

    The move is kept with who triggered the run, the run's id, and the form's `reason`; parameters as of `command`.
    """
    by = "{{ 'airflow:' ~ dag_run.triggering_user_name if dag_run.triggering_user_name else 'airflow' }}"
    return command(
        task_id,
        f'exec "$MARQUEE_PYTHON" -m training {line} --reason "$REASON" --by "$WHO" --run "$RUN"',
        doc=doc,
        minutes=10,
        retries=retries,
        env={"REASON": "{{ params.reason or '' }}", "WHO": by, "RUN": "{{ run_id }}", **env},
        outlets=[CHAMPION],
        **more,
    )


def reason(description: str, **more: Any) -> Param:
    """Return the form's field for why the alias moves; Airflow's form waits for words unless it may be null."""
    return Param(**{"type": "string", **more}, maxLength=500, title="Reason", description=description)


def _deadline(late_after: timedelta, next_step: str) -> DeadlineAlert:
    """Return the alert about runs that are not done some time after they may begin: it shows on the DAG's page."""
    hours = late_after / timedelta(hours=1)
    return DeadlineAlert(
        name=f"done within {hours:g} h",
        reference=RunAfter(),
        interval=late_after,
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
