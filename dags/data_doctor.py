"""Airflow DAG `data_doctor`: whether what has landed is fit to be trained on, every day."""

from datetime import timedelta

from marquee_tasks import INTERACTION_EVENTS, command, every, marquee_dag

NEXT_STEP = (
    "the check named above says what it found and what to do; mend the data, or the thresholds in the file that "
    "MARQUEE_DOCTOR names, then clear the task."
)

DOC = """
### Data doctor

Looks at what has landed for what would spoil a training (`python -m features doctor`): events without users or items,
clocks that are wrong, actions that stopped, items that nobody described, floods by a few users. It runs before the
nightly training, so that a morning begins with the reason instead of a missing version; `train_recommender` looks
again by itself.

**Where to look.** The table at the end of the log: each check, what it found, how severe that is.

**When it fails.** A check that blocks has failed, and training would stop at the same place. The log names the check,
what it found, and what to do. Thresholds and severities are the file that `MARQUEE_DOCTOR` names. Servers go on with
the version that they have.
"""


@marquee_dag(
    description="Checks whether what has landed is fit to be trained on.",
    doc=DOC,
    next_step=NEXT_STEP,
    tag="features",
    late_after=timedelta(hours=1),
    gone_after=timedelta(hours=2),
    # Before the nightly training.
    schedule=every("15 2 * * *"),
)
def data_doctor() -> None:
    """Build the one task."""
    command(
        "doctor",
        'exec "$MARQUEE_PYTHON" -m features doctor',
        doc="Prints every check's finding; red if one that blocks has failed.",
        minutes=60,
        retries=1,
        inlets=[INTERACTION_EVENTS],
    )


data_doctor()
