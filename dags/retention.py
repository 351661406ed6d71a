"""Airflow DAG `retention`: events older than the retention go, every night."""

from datetime import timedelta

from marquee_tasks import command, every, marquee_dag

NEXT_STEP = "mend what the last line above names (Postgres or Kafka away), then clear the task: it goes on."

DOC = """
### Retention

Deletes interactions, impressions, feedback and finished dead letters that are older than `MARQUEE_RETENTION_DAYS`
(`python -m features retain`), in small steps with a pause between: landing and requests come first. 0 days, the
default, keeps every event, and the task says so. Records of served lists go after `MARQUEE_RECORD_DAYS`. What is too
old goes from the snapshots of kept training runs as well, whose ledgers say how much, as `reproduce` does.

A row stays as long as its topic may still hold it, by Kafka's own `retention.ms`: reading the topic again would bring
it back. What each user has seen (`user_seen`) stays, since filters need it; so do item statistics, which hold no users.

**When it fails.** What was deleted is counted, and the account of `reconcile_events` holds. Read the last line of the
log, mend the cause (Postgres or Kafka away), and clear the task: it goes on. Safe to interrupt and to repeat.
"""


@marquee_dag(
    description="Deletes events older than the retention, in small steps.",
    doc=DOC,
    next_step=NEXT_STEP,
    tag="operations",
    late_after=timedelta(hours=4),
    gone_after=timedelta(hours=6),
    # Before the nightly training.
    schedule=every("30 1 * * *"),
)
def retention() -> None:
    """Build the one task."""
    command(
        "retain",
        'exec "$MARQUEE_PYTHON" -m features retain',
        doc="Deletes what is older than MARQUEE_RETENTION_DAYS and says how much.",
        minutes=330,
        retries=2,
    )


retention()
