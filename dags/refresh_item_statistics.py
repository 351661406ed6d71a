"""Airflow DAG `refresh_item_statistics`: popularity and trends of items, closed every 15 minutes."""

from datetime import timedelta

from marquee_tasks import ENOUGH_NEW_EVENTS, INTERACTION_EVENTS, ITEM_STATISTICS, command, every, marquee_dag

NEXT_STEP = "mend what the last line above names (most often Postgres), then clear the task or wait for the next run."

DOC = """
### Refresh item statistics

Adds the closed 15-minute buckets of events to the table `item_statistics` (`python -m features statistics`): counts and
decayed sums, from which servers and training know what is popular and what is trending.

Then it looks whether enough has landed for another training (`python -m training due`): the asset `enough_new_events`
is updated once for every `MARQUEE_TRAIN_AFTER_EVENTS` new interactions, and starts `train_recommender`.

Safe to repeat at any time: it goes on from the newest closed bucket, and items whose history arrives late are rebuilt.

**When it fails.** Servers go on with the statistics they have. Read the last line of the log, mend the cause (most
often Postgres), and clear the task or wait for the next run.
"""


@marquee_dag(
    description="Closes 15-minute buckets of item statistics; starts a training when enough is new.",
    doc=DOC,
    next_step=NEXT_STEP,
    tag="features",
    late_after=timedelta(minutes=30),
    gone_after=timedelta(hours=1),
    # A minute after each bucket's edge.
    schedule=every("1/15 * * * *"),
)
def refresh_item_statistics() -> None:
    """Build the two tasks."""
    statistics = command(
        "statistics",
        'exec "$MARQUEE_PYTHON" -m features statistics',
        doc="Advances the table to the newest closed bucket.",
        minutes=30,
        retries=2,
        inlets=[INTERACTION_EVENTS],
        outlets=[ITEM_STATISTICS],
    )
    enough = command(
        "enough_new_events",
        'exec "$MARQUEE_PYTHON" -m training due --note',
        doc="Skipped until MARQUEE_TRAIN_AFTER_EVENTS interactions have landed since the last training; then it sets "
        "`train_recommender` off.",
        minutes=10,
        retries=1,
        inlets=[INTERACTION_EVENTS],
        outlets=[ENOUGH_NEW_EVENTS],
    )
    statistics >> enough


refresh_item_statistics()
