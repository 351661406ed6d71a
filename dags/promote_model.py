"""Airflow DAG `promote_model`: a version serves because a person says so, by a form."""

from datetime import timedelta

from airflow.sdk import Param
from marquee_tasks import RECOMMENDER_VERSION, marquee_dag, move, reason

NEXT_STEP = (
    "the last line above says what MLflow refused or that it was away; `python -m training versions` lists what can be "
    "promoted. Nothing has moved unless that line says so."
)

DOC = """
### Promote a model version

Lets a version serve, **whatever the gate said** (`python -m training promote VERSION`). Servers have it within
seconds, and check it once more before they serve it: a version whose files are not those that were registered is
refused, and the one before goes on.

**Before.** Look at the version in MLflow: its tags `gate` and `gate_reasons`, the table `gate.json` of its run, and the
report there.

**Who and why** are kept with the move: `python -m training history`, `GET /api/v1/admin/audit`.

**When it fails.** Nothing has moved, and the last line of the log says why. To go back after a promotion: trigger
`rollback_model`.
"""

PARAMS = {
    "version": Param(
        type="string",
        pattern="^[0-9]{1,9}$",
        title="Version",
        description="Number of the version in MLflow, such as 7.",
    ),
    "reason": reason("Why this version, in a sentence: kept with the move.", minLength=3),
}


@marquee_dag(
    description="Lets a version of the model serve, whatever the gate said.",
    doc=DOC,
    next_step=NEXT_STEP,
    tag="model",
    late_after=timedelta(minutes=6),
    gone_after=timedelta(minutes=15),
    params=PARAMS,
)
def promote_model() -> None:
    """Build the one task."""
    move(
        "promote",
        'promote "$VERSION"',
        doc="Moves the alias and says from where to where.",
        retries=2,
        env={"VERSION": "{{ params.version }}"},
        inlets=[RECOMMENDER_VERSION],
    )


promote_model()
