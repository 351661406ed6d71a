"""Airflow DAG `erase_users`: users who ask for it are taken out of everything, by a form."""

from datetime import timedelta

from airflow.sdk import Param
from marquee_tasks import command, marquee_dag

NEXT_STEP = "read the last line above, then clear the task: users before that line are erased already, once is enough."

DOC = """
### Erase users

Takes users out of all tables, empties dead letters that hold them, and leaves a keyed digest of their ids, so that
nothing of theirs lands again (`python -m features erase`). Enter their ids, one a line and to the letter: spaces
count. A run takes at most a hundred; `python -m features erase --from FILE` takes a list of any length. Then trigger
the run; with the box ticked it only counts.

**The receipt** of each user stands in the log and, without the id, in the table `erasures`: rows by table, dead
letters, training snapshots and exports that hold the user (delete those files), Kafka topics that hold their events
until retention takes them, and what is out of reach (backups). Keep the log as your record, or delete the run: its
form holds the ids.

**When it fails.** Users before the one in the last line are erased; clear the task, and all are gone through again. A
second erasure changes nothing. `MARQUEE_ERASURE_SECRET` must be the one of earlier erasures.
"""

MOST_USERS = 100
"""They reach the command in one variable, of which Linux takes 128 KiB; an id may have 1 KiB in UTF-8."""

PARAMS = {
    "user_ids": Param(
        [],
        type="array",
        # They reach the command one a line.
        items={"type": "string", "minLength": 1, "maxLength": 256, "not": {"pattern": "[\r\n]"}},
        minItems=1,
        maxItems=MOST_USERS,
        title="User ids",
        description="Users to erase, one a line, to the letter as events name them: spaces count. At most "
        f"{MOST_USERS} in a run: for more, `python -m features erase --from FILE` reads them, or trigger several runs.",
    ),
    "dry_run": Param(
        False,  # noqa: FBT003  # the form's default
        type="boolean",
        title="Dry run",
        description="Only count what would be erased; nothing is changed.",
    ),
}

# Values reach the shell as variables, never as text of a command.
ENV = {
    "USER_IDS": "{{ params.user_ids | join('\\n') }}",
    "DRY_RUN": "{{ '--dry-run' if params.dry_run else '' }}",
}


@marquee_dag(
    description="Erases users, with a receipt for each.",
    doc=DOC,
    next_step=NEXT_STEP,
    tag="operations",
    late_after=timedelta(hours=1),
    gone_after=timedelta(hours=2),
    params=PARAMS,
)
def erase_users() -> None:
    """Build the one task."""
    command(
        "erase",
        'printf "%s" "$USER_IDS" | "$MARQUEE_PYTHON" -m features erase --from - ${DRY_RUN:+"$DRY_RUN"}',
        doc="Erases each user and prints the receipts.",
        minutes=110,
        retries=1,
        env=ENV,
    )


erase_users()
