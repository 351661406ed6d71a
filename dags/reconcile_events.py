"""Airflow DAG `reconcile_events`: whether every event is accounted for, every hour."""

from datetime import timedelta

from marquee_tasks import command, every, marquee_dag

NEXT_STEP = (
    "the end of the log names partitions and offsets; `python -m features offsets accept` lets those go on that are "
    "stopped, and events that landing has passed by are to be sent again."
)

DOC = """
### Reconcile events

Compares, for each topic and partition, Kafka's offsets with landing's counters and with the rows that stand in the
tables (`python -m features reconcile`): every event is stored, a duplicate, a dead letter, or skipped, and every row
that is gone was erased or has expired. The log shows the account, and what landed in each of the last 48 hours.

**When it fails.** An event is not accounted for, or a topic was made anew. The end of the log says for each partition
what is wrong and which offsets are concerned. Nothing is changed by this DAG. Exit code 1 is a finding; 2 means that
Postgres or Kafka was away, and the next hour tells more. `python -m features offsets show` names the partitions that
are stopped, since their topic was made anew or they stand past its end; `offsets accept` lets these go on. What landing
has passed by it does not read again: send those events again, each lands once by its `event_id`. The account's two
identities stand in `features/admin/balance.py`.

**Beside it.** `python -m features reconcile --prometheus-file F` writes the same as metrics.
"""


@marquee_dag(
    description="Compares offsets, counters and rows, to the event.",
    doc=DOC,
    next_step=NEXT_STEP,
    tag="operations",
    late_after=timedelta(minutes=30),
    gone_after=timedelta(hours=1),
    schedule=every("7 * * * *"),
)
def reconcile_events() -> None:
    """Build the one task."""
    command(
        "reconcile",
        'exec "$MARQUEE_PYTHON" -m features reconcile --trend 48',
        doc="Prints the account; red if an event is not accounted for, with what is wrong at the end.",
        minutes=25,
        retries=1,
    )


reconcile_events()
