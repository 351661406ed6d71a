"""Airflow DAG `rollback_model`: the version before serves again, by a form."""

from datetime import timedelta

from marquee_tasks import marquee_dag, move, reason

NEXT_STEP = (
    "the last line above says what MLflow refused or that it was away. Quicker ways back: `python -m training "
    "rollback`, `POST /api/v1/models/rollback`, or the alias in MLflow's page of the model."
)

DOC = """
### Roll back the model

Lets the version before the present one serve again (`python -m training rollback`): the one that MLflow's alias
`previous` names. Servers have it within seconds, for they keep its bundle on disk. Triggered a second time it goes
forth again.

**Where to look.** The last line of the log says from where to where; `GET /model/info` says what a server serves;
`python -m training history` lists all moves, with who and why.

**When it fails.** Nothing has moved: there is no version before, or MLflow is away. `promote_model` lets any version
serve. The next training may promote a newer version again: pause `train_recommender` to keep what serves.
"""

PARAMS = {
    "reason": reason(
        "Why, in a sentence: kept with the move. May be empty in a hurry.", default=None, type=["null", "string"]
    )
}


@marquee_dag(
    description="Lets the version before serve again, within seconds.",
    doc=DOC,
    next_step=NEXT_STEP,
    tag="model",
    late_after=timedelta(minutes=6),
    gone_after=timedelta(minutes=15),
    params=PARAMS,
)
def rollback_model() -> None:
    """Build the one task."""
    move(
        "rollback",
        "rollback",
        doc="Moves the alias back and says from where to where.",
        retries=0,  # a rollback that was done and did not say so would go forth again
        env={},
    )


rollback_model()
