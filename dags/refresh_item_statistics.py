"""DAG `refresh_item_statistics`: popularity and trends of items, closed every 15 minutes."""

import os
import sys
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import CronTriggerTimetable, dag

ROOT = Path(__file__).resolve().parent.parent

DOC = """
### Refresh item statistics

Adds the closed 15-minute buckets of events to the table `item_statistics` (`python -m features statistics`): counts and
decayed sums, from which servers and training know what is popular and what is trending.

Safe to repeat at any time: it goes on from the newest closed bucket, and items whose history arrives late are rebuilt.

**When it fails.** Servers go on with the statistics they have. Read the last line of the log, mend the cause (most
often Postgres), and clear the task or wait for the next run.
"""


@dag(
    dag_id="refresh_item_statistics",
    description="Closes 15-minute buckets of item statistics.",
    # A minute after each bucket's edge; no start date, so that unpausing waits for the next one.
    schedule=CronTriggerTimetable("1/15 * * * *", timezone="UTC", run_immediately=timedelta()),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    default_args={"owner": "marquee", "retry_delay": timedelta(seconds=30)},
    tags=["marquee", "features"],
    doc_md=DOC,
)
def refresh_item_statistics() -> None:
    """Build the one task."""
    BashOperator(
        task_id="statistics",
        bash_command='exec "$MARQUEE_PYTHON" -m features statistics',
        env={"MARQUEE_PYTHON": os.environ.get("MARQUEE_PYTHON", sys.executable)},
        append_env=True,
        cwd=str(ROOT),
        doc_md="Advances the table to the newest closed bucket.",
        retries=2,
        execution_timeout=timedelta(minutes=30),
    )


refresh_item_statistics()
