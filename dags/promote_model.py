"""DAG `promote_model`: a version serves because a person says so, by a form."""

from datetime import timedelta

from airflow.sdk import Param, dag
from marquee_tasks import CHAMPION, RECOMMENDER_VERSION, command, deadline, defaults, who

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
    "reason": Param(
        type="string",
        minLength=3,
        maxLength=500,
        title="Reason",
        description="Why this version, in a sentence: kept with the move.",
    ),
}

ENV = {
    "VERSION": "{{ params.version }}",
    "REASON": "{{ params.reason }}",
    "WHO": who(),
    "RUN": "{{ run_id }}",
}


@dag(
    dag_id="promote_model",
    description="Lets a version of the model serve, whatever the gate said.",
    schedule=None,  # only by its form
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=15),
    default_args=defaults(NEXT_STEP),
    deadline=deadline(0.1),
    params=PARAMS,
    tags=["marquee", "model"],
    doc_md=DOC,
)
def promote_model() -> None:
    """Build the one task."""
    command(
        "promote",
        'exec "$MARQUEE_PYTHON" -m training promote "$VERSION" --reason "$REASON" --by "$WHO" --run "$RUN"',
        doc="Moves the alias and says from where to where.",
        minutes=10,
        retries=2,
        env=ENV,
        inlets=[RECOMMENDER_VERSION],
        outlets=[CHAMPION],
    )


promote_model()
