"""DAG `train_recommender`: from landed events to a promoted model version; each task runs one command."""

import os
import sys
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import CronTriggerTimetable, Param, TriggerRule, chain, dag

ROOT = Path(__file__).resolve().parent.parent
PYTHON = os.environ.get("MARQUEE_PYTHON", sys.executable)

DOC = """
### Train the recommender

`data_doctor -> snapshot -> retrieval -> ranker -> evaluate -> register -> gate -> promote`, announced on Kafka at both
ends.

| task | command | leaves |
|---|---|---|
| data_doctor | `python -m features doctor` | its findings, in this task's log; a check that blocks ends the run here |
| snapshot | `python -m training step snapshot` | interactions and items as files; *skipped* with too few events |
| retrieval | `... step retrieval` | tuned settings, if asked for; factors, neighbour tables, index; no judging window |
| ranker | `... step ranker` | the finished bundle |
| evaluate | `... step evaluate` | metrics with intervals, plots, report |
| register | `... step register` | one version of the model in MLflow, with its digest |
| gate | `... step gate` | `promoted`, `refused` or `needs_human`, as tags of the version and in this task's log |
| promote | `... step promote` | moves the alias only if the gate and the form allow it; says why it does not |

A refusal is an outcome, not a failure: the run is green and the log of `gate` holds the reasons and numbers.

**Where to look.** The run's files lie in `MARQUEE_WORK_DIR/<run>`; metrics, plots and report in MLflow's experiment
`marquee`.

**When `data_doctor` fails.** The end of its log names the check, what it found, and what to do; thresholds and
severities are the file that `MARQUEE_DOCTOR` names. Mend the data or the file, then clear the task.

**When a task fails.** Read the last line of its log, mend the cause, then clear the task: finished steps are not done
again. `register` is not retried by itself. By hand: `python -m training run --run ID` goes on where the run stopped,
`python -m training promote VERSION` overrules the gate, `python -m training rollback` goes back.
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
    "MARQUEE_PYTHON": PYTHON,
    "RUN": "{{ run_id | replace(':', '-') | replace('+', '-') | replace('~', '-') }}",
    "WINDOW_DAYS": "{{ params.window_days or '' }}",
    "FACTORS": "{{ params.factors }}",
    "EXCLUDE_SEEN": "{{ '--exclude-seen' if params.exclude_seen else '--include-seen' }}",
    "PROMOTE": "{{ '--promote' if params.promote else '--no-promote' }}",
    "MIN_EVENTS": "{{ params.min_events }}",
    "SEED": "{{ params.seed }}",
    "TUNE_TRIALS": "{{ params.tune_trials }}",
    "TUNE_MINUTES": "{{ params.tune_minutes or '' }}",
    "PARAMETERS": "{{ dict(params.items()) | tojson }}",
}

FIRST_STEP = (
    'exec "$MARQUEE_PYTHON" -m training step snapshot --run "$RUN" '
    '${WINDOW_DAYS:+--window-days "$WINDOW_DAYS"} --factors "$FACTORS" "$EXCLUDE_SEEN" "$PROMOTE" '
    '--min-events "$MIN_EVENTS" --seed "$SEED" '
    '--tune-trials "$TUNE_TRIALS" ${TUNE_MINUTES:+--tune-minutes "$TUNE_MINUTES"}'
)


def command(
    task_id: str,
    line: str,
    *,
    doc: str,
    minutes: int,
    retries: int,
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS,
) -> BashOperator:
    """Return a task that runs one command in the checkout; exit code 99 shows it as skipped."""
    return BashOperator(
        task_id=task_id,
        bash_command=line,
        env=ENV,
        append_env=True,
        cwd=str(ROOT),
        doc_md=doc,
        retries=retries,
        execution_timeout=timedelta(minutes=minutes),
        trigger_rule=trigger_rule,
    )


def step(name: str, *, doc: str, minutes: int, retries: int) -> BashOperator:
    """Return the task of one step of `python -m training`."""
    line = f'exec "$MARQUEE_PYTHON" -m training step {name} --run "$RUN"'
    return command(name, line, doc=doc, minutes=minutes, retries=retries)


@dag(
    dag_id="train_recommender",
    description="Snapshot, retrieval, ranker, evaluation, registration, gate, promotion.",
    # No start date, and no time after a tick in which it is made up for: unpausing waits for the next 03:00 instead of
    # starting a run at once. (Airflow takes False for "within a tenth of the interval": apache/airflow 3.3.)
    schedule=CronTriggerTimetable("0 3 * * *", timezone="UTC", run_immediately=timedelta()),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=8),
    default_args={"owner": "marquee", "retry_delay": timedelta(seconds=30)},
    params=PARAMS,
    tags=["marquee", "training"],
    doc_md=DOC,
)
def train_recommender() -> None:
    """Build the chain of tasks."""
    started = command(
        "announce_started",
        'exec "$MARQUEE_PYTHON" -m features announce started --run "$RUN" --parameters "$PARAMETERS"',
        doc="Publishes `recommendation-service.model-training-started`. Training goes on if that fails.",
        minutes=5,
        retries=1,
    )
    announced = command(
        "announce",
        "set -o pipefail\n"
        '"$MARQUEE_PYTHON" -m training outcome --run "$RUN" --arguments'
        ' | xargs -0 "$MARQUEE_PYTHON" -m features announce completed --run "$RUN"',
        doc="Publishes `recommendation-service.model-training-completed` with status and metrics, after failures too.",
        minutes=5,
        retries=2,
    )
    examined = command(
        "data_doctor",
        'exec "$MARQUEE_PYTHON" -m features doctor',
        doc="Checks what has landed. Red, with the reason at the end of its log, if a check that blocks has failed.",
        minutes=30,
        retries=1,
        trigger_rule=TriggerRule.ALL_DONE,
    )
    steps = [
        command(
            "snapshot",
            FIRST_STEP,
            doc="Copies interactions and items from Postgres to files. Skipped, with the count, if there are too few.",
            minutes=60,
            retries=2,
        ),
        step("retrieval", doc="Searches settings if asked for; fits factors, tables, index.", minutes=360, retries=1),
        step("ranker", doc="Fits LightGBM and writes the bundle.", minutes=180, retries=1),
        step("evaluate", doc="Judges the bundle beside every baseline.", minutes=120, retries=1),
        step("register", doc="Publishes to MLflow; looks for a version of this run first.", minutes=60, retries=0),
        step("gate", doc="Decides, with reasons: see the log and the version's tags.", minutes=60, retries=1),
        step("promote", doc="Moves the alias if gate and form allow it, else says why not.", minutes=10, retries=1),
    ]
    # As a teardown it always runs, and does not hide a failure of the steps from the run's own state.
    chain(started, examined, *steps, announced.as_teardown())


train_recommender()
