"""Airflow DAG `train_recommender`: from landed events to a promoted model version; each task runs one command."""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import AssetOrTimeSchedule, BaseOperator, Param, TriggerRule, chain
from marquee_tasks import (
    CHAMPION,
    ENOUGH_NEW_EVENTS,
    INTERACTION_EVENTS,
    ITEM_STATISTICS,
    RECOMMENDER_VERSION,
    command,
    every,
    marquee_dag,
)

NEXT_STEP = (
    "mend what the last line above names, then clear this task: finished steps are not done again, and `approval` asks "
    "again. By hand: `python -m training run --run ID` with the run's folder below MARQUEE_WORK_DIR, but not where a "
    "person is to be asked: nobody is, and what the gate leaves to a person is not promoted."
)
MOST_HOURS: Final = 14
"""For an approval: with the eight that training may take a run ends before the next night's."""

DOC = """
### Train the recommender

`data_doctor -> snapshot -> retrieval -> ranker -> evaluate -> register -> gate -> needs_approval -> approval ->
promote`, announced on Kafka at both ends. It runs every night, and when enough has landed (asset `enough_new_events`).

| task | command | leaves |
|---|---|---|
| data_doctor | `python -m features doctor` | its findings, in this task's log; a check that blocks ends the run here |
| snapshot | `python -m training step snapshot` | interactions and items as files; *skipped* with too few events |
| retrieval | `... step retrieval` | tuned settings, if asked for; factors, neighbour tables, index; no judging window |
| ranker | `... step ranker` | the finished bundle |
| evaluate | `... step evaluate` | metrics with intervals, plots, report |
| register | `... step register` | one version of the model in MLflow, with its digest |
| gate | `... step gate` | `promoted`, `refused` or `needs_human`, as tags of the version and in this task's log |
| needs_approval | `python -m training approval` | what a person is asked; *skipped* where nobody is |
| approval | *Required Actions* | waits for a person, and holds no worker; *skipped* where nobody is asked |
| promote | `... step promote` | moves the alias if gate, form and person allow it; *skipped*, and says why, if not |

A refusal is an outcome, not a failure: the run is green and the log of `gate` holds the reasons and numbers.

**Approval.** Where the gate says `needs_human`, or the form asks for it always, the run waits under *Required Actions*
with the gate's table and a link to the version. Who answered, when and why goes on the version (tags `approval`,
`approved_by`, `approved_at`, or `rejected_by`, `rejected_at`) and, with the move, into the audit. Without an answer in
time nothing moves, and the next run may begin.

**Where to look.** The run's files lie in `MARQUEE_WORK_DIR/<run>`; metrics, plots and report in MLflow's experiment
`marquee`.

**When `data_doctor` fails.** The end of its log names the check, what it found, and what to do; thresholds and
severities are the file that `MARQUEE_DOCTOR` names. Mend the data or the file, then clear the task.

**When a task fails.** Read the last line of its log, mend the cause, then clear the task: finished steps are not done
again. `register` is not retried by itself. By hand: `python -m training run --run ID` goes on where the run stopped.
`promote_model` overrules the gate, `rollback_model` goes back.
"""

PARAMS = {
    "window_days": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        maximum=3650,
        title="Window (days)",
        description="Days of history to train on, back from now. Empty: all there is.",
    ),
    "since": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Data from",
        description="Only interactions that were known at or after this; instead of a window. Empty: from the first.",
    ),
    "until": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Data until",
        description="Only what was known before this, as if the training ran then. Empty: all that has landed.",
    ),
    "approval": Param(
        "gate",
        type="string",
        enum=["gate", "always", "never"],
        values_display={"gate": "when the gate asks", "always": "always", "never": "never"},
        title="Approval by a person",
        description="Whether the run waits for a person before it promotes. Never: what the gate leaves to a person "
        "is not promoted.",
    ),
    "approval_hours": Param(
        12,
        type="integer",
        minimum=1,
        maximum=MOST_HOURS,
        title="Time for an answer (hours)",
        description="Without an answer in so many hours nothing is promoted, and the next run may begin.",
    ),
    "factors": Param(
        64,
        type="integer",
        minimum=8,
        maximum=512,
        title="Factors",
        description="Latent dimensions of ALS. More catch finer tastes and cost time and memory.",
    ),
    "exclude_seen": Param(
        True,  # noqa: FBT003  # the form's default
        type="boolean",
        title="Leave out what a user had",
        description="Off where people come back for the same things: the ranker then learns of repeats as well.",
    ),
    "promote": Param(
        True,  # noqa: FBT003  # the form's default
        type="boolean",
        title="Promote if the gate allows",
        description="Off: the version is registered and judged, but the champion stays.",
    ),
    "min_events": Param(
        1000,
        type="integer",
        minimum=1,
        maximum=1_000_000_000,
        title="Minimum of events",
        description="With fewer interactions in the window the run is skipped, with the count.",
    ),
    "seed": Param(
        0,
        type="integer",
        minimum=0,
        maximum=2_147_483_647,
        title="Seed",
        description="Of every random generator: the same seed and data give the same model.",
    ),
    "tune_trials": Param(
        0,
        type="integer",
        minimum=0,
        maximum=1000,
        title="Tuning trials",
        description="Trials of a search of better settings before fitting; 0: the default settings. Trials are nested "
        "runs in MLflow. Tuned settings are taken only where users kept aside show that they are better.",
    ),
    "tune_minutes": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        maximum=1440,
        title="Tuning time (minutes)",
        description="No trial begins later than this. Empty: no limit. With a limit the run is not reproducible.",
    ),
}

# Values reach the shell as variables, never as text of a command. An id without signs is a folder's name and a tag.
ENV = {
    "RUN": "{{ run_id | replace(':', '-') | replace('+', '-') | replace('~', '-') }}",
    "WINDOW_DAYS": "{{ params.window_days or '' }}",
    "SINCE": "{{ params.since or '' }}",
    "UNTIL": "{{ params.until or '' }}",
    "APPROVAL": "{{ params.approval }}",
    "FACTORS": "{{ params.factors }}",
    "EXCLUDE_SEEN": "{{ '--exclude-seen' if params.exclude_seen else '--include-seen' }}",
    "PROMOTE": "{{ '--promote' if params.promote else '--no-promote' }}",
    "MIN_EVENTS": "{{ params.min_events }}",
    "SEED": "{{ params.seed }}",
    "TUNE_TRIALS": "{{ params.tune_trials }}",
    "TUNE_MINUTES": "{{ params.tune_minutes or '' }}",
    "PARAMETERS": "{{ dict(params.items()) | tojson }}",
}

ANSWER = {
    "ANSWER": "{% set said = ti.xcom_pull(task_ids='approval') %}"
    "{% if said %}{{ {'answer': said['chosen_options'][0], "
    "'by': 'airflow:' ~ said['responded_by_user']['name'] if said['responded_by_user'] else 'nobody (time ran out)', "
    "'at': said['responded_at'] | string, 'reason': (said['params_input'] or {}).get('reason', '')} | tojson }}"
    "{% endif %}",
}
"""What a person said, as JSON; empty where nobody was asked."""

FIRST_STEP = (
    'exec "$MARQUEE_PYTHON" -m training step snapshot --run "$RUN" '
    '${WINDOW_DAYS:+--window-days "$WINDOW_DAYS"} ${SINCE:+--since "$SINCE"} ${UNTIL:+--until "$UNTIL"} '
    '--factors "$FACTORS" "$EXCLUDE_SEEN" "$PROMOTE" '
    '--min-events "$MIN_EVENTS" --seed "$SEED" '
    '--tune-trials "$TUNE_TRIALS" ${TUNE_MINUTES:+--tune-minutes "$TUNE_MINUTES"}'
)


class Approval(ApprovalOperator):
    """Asks a person; a rejection is an answer, which the step `promote` records as it does any other."""

    def execute(self, context: Any) -> Any:
        """Ask, for as long as the form says."""
        self.response_timeout = timedelta(hours=int(context["params"]["approval_hours"]))
        return super().execute(context)

    def skip(self, ti: Any, tasks: Iterable[Any]) -> None:
        """Skip nothing after a rejection."""


def step(name: str, *, doc: str, minutes: int, retries: int, **more: Any) -> BashOperator:
    """Return the task of one step of `python -m training`."""
    line = f'exec "$MARQUEE_PYTHON" -m training step {name} --run "$RUN"'
    return command(name, line, doc=doc, minutes=minutes, retries=retries, env=ENV, **more)


def approval() -> Approval:
    """Return the task that waits for a person."""
    return Approval(
        task_id="approval",
        subject="{{ ti.xcom_pull(task_ids='needs_approval')['subject'] }}",
        body="{{ ti.xcom_pull(task_ids='needs_approval')['body'] }}",
        defaults="Reject",  # of those who do not answer
        params={
            "reason": Param(
                "",
                type="string",
                maxLength=500,
                title="Reason",
                description="Why, in a sentence: kept with the version. The buttons wait for it.",
            )
        },
        doc_md="Waits for a person under *Required Actions*, and holds no worker meanwhile.",
        retries=0,
        response_timeout=timedelta(hours=MOST_HOURS),
        execution_timeout=timedelta(minutes=10),
    )


def training_steps() -> list[BaseOperator]:
    """Return the tasks from the snapshot to the promotion, in their order; `gate` is the sixth."""
    return [
        command(
            "snapshot",
            FIRST_STEP,
            doc="Copies interactions and items from Postgres to files. Skipped, with the count, if there are too few.",
            minutes=60,
            retries=2,
            env=ENV,
            inlets=[INTERACTION_EVENTS, ITEM_STATISTICS],
        ),
        step("retrieval", doc="Searches settings if asked for; fits factors, tables, index.", minutes=360, retries=1),
        step("ranker", doc="Fits LightGBM and writes the bundle.", minutes=180, retries=1),
        step("evaluate", doc="Judges the bundle beside every baseline.", minutes=120, retries=1),
        step(
            "register",
            doc="Publishes to MLflow; looks for a version of this run first.",
            minutes=60,
            retries=0,
            # What it was made of, by way of the snapshot: Airflow's graph of assets begins with them.
            inlets=[INTERACTION_EVENTS, ITEM_STATISTICS],
            outlets=[RECOMMENDER_VERSION],
        ),
        step("gate", doc="Decides, with reasons: see the log and the version's tags.", minutes=60, retries=1),
        command(
            "needs_approval",
            'exec "$MARQUEE_PYTHON" -m training approval --run "$RUN" --when "$APPROVAL"',
            doc="Writes what a person is asked. Skipped, with the reason, where nobody is.",
            minutes=10,
            retries=1,
            env=ENV,
            output_processor=json.loads,
        ),
        approval(),
        command(
            "promote",
            'exec "$MARQUEE_PYTHON" -m training step promote --run "$RUN" --approval "$ANSWER"',
            doc="Moves the alias if gate, form and person allow it. Skipped, with the reason, if it stays.",
            minutes=10,
            retries=1,
            env={**ENV, **ANSWER},
            trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,  # also where the gate decided and nobody was asked
            inlets=[RECOMMENDER_VERSION],
            outlets=[CHAMPION],
        ),
    ]


@marquee_dag(
    description="Snapshot, retrieval, ranker, evaluation, registration, gate, promotion.",
    doc=DOC,
    next_step=NEXT_STEP,
    tag="training",
    late_after=timedelta(hours=8),
    gone_after=timedelta(hours=23),
    late="look whether a step is slow, or the run waits for an approval under Required Actions.",
    schedule=AssetOrTimeSchedule(timetable=every("0 3 * * *"), assets=[ENOUGH_NEW_EVENTS]),
    params=PARAMS,
)
def train_recommender() -> None:
    """Build the chain of tasks."""
    started = command(
        "announce_started",
        'exec "$MARQUEE_PYTHON" -m features announce started --run "$RUN" --parameters "$PARAMETERS"',
        doc="Publishes `recommendation-service.model-training-started`. Training goes on if that fails.",
        minutes=5,
        retries=1,
        env=ENV,
    )
    announced = command(
        "announce",
        "set -o pipefail\n"
        '"$MARQUEE_PYTHON" -m training outcome --run "$RUN" --arguments'
        ' | xargs -0 "$MARQUEE_PYTHON" -m features announce completed --run "$RUN"',
        doc="Publishes `recommendation-service.model-training-completed` with status and metrics, after failures too.",
        minutes=5,
        retries=2,
        env=ENV,
    )
    examined = command(
        "data_doctor",
        'exec "$MARQUEE_PYTHON" -m features doctor',
        doc="Checks what has landed. Red, with the reason at the end of its log, if a check that blocks has failed.",
        minutes=30,
        retries=1,
        env=ENV,
        trigger_rule=TriggerRule.ALL_DONE,
        inlets=[INTERACTION_EVENTS],
    )
    steps = training_steps()
    gate, promote = steps[5], steps[-1]
    gate >> promote
    # As a teardown it always runs, and does not hide a failure of the steps from the run's own state.
    chain(started, examined, *steps, announced.as_teardown())


train_recommender()
