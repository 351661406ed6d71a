"""Airflow DAG `skew_report`: whether the version that serves computes what it was trained on, every day."""

from datetime import timedelta

from airflow.sdk import Param
from marquee_tasks import command, every, marquee_dag

NEXT_STEP = (
    "exit code 1 is skew: `python -m serving replay ID` of the list named above; 2: the last line says what was away."
)

DOC = """
### Skew report

Takes recorded lists of the version that serves (`MARQUEE_RECORD_SHARE` of all), makes each again by the code that makes
training rows from the same events, and compares every feature of every candidate to the bit
(`python -m training skew`). It also tells how far served features and scores have moved from those trained on (PSI).

**Where to look.** The end of the log; MLflow's experiment `marquee-skew`, a run for each check with `report.html` and
`skew.json`; the tags `skew`, `skew_reasons` and `skew_at` of the model version.

* **ok**: all compared lists are the same; what could not be made again is counted by reason.
* **skewed**: values differ; features, lists and an example are named. The task is red, and for three days the gate of
  `train_recommender` leaves promotions to a person.
* **drifted**: the same to the bit, but users or items are no longer those trained on: train again. A warning, which
  blocks promotions only with `MARQUEE_DRIFT_BLOCKS`.
* **unknown**: nothing could be compared; no lists are recorded, or none that can be made again.

**When it fails.** Exit code 1 is skew: compute the named list again (`python -m serving replay ID`), look at the code
of the feature, and at what changed in the tables since. 2 means that Postgres or MLflow was away, or that the bundle
is not of this code; the last line says which.
"""

PARAMS = {
    "hours": Param(
        24,
        type="integer",
        minimum=1,
        maximum=2160,
        title="Hours",
        description="Looks at lists that were served in the last so many hours.",
    ),
    "limit": Param(
        1000,
        type="integer",
        minimum=1,
        maximum=20_000,
        title="Lists",
        description="Looks at no more lists than so; where there are more, at an even draw.",
    ),
}

# Values reach the shell as variables, never as text of a command.
ENV = {
    "HOURS": "{{ params.hours }}",
    "LISTS": "{{ params.limit }}",
}


@marquee_dag(
    description="Holds served feature rows and scores against training.",
    doc=DOC,
    next_step=NEXT_STEP,
    tag="model",
    late_after=timedelta(hours=1),
    gone_after=timedelta(hours=2),
    schedule=every("23 4 * * *"),
    params=PARAMS,
)
def skew_report() -> None:
    """Build the one task."""
    command(
        "skew",
        'exec "$MARQUEE_PYTHON" -m training skew --hours "$HOURS" --limit "$LISTS"',
        doc="Prints the finding and tags the version; red if served values are not those of the training path.",
        minutes=110,
        retries=1,
        env=ENV,
    )


skew_report()
