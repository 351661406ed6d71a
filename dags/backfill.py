"""Airflow DAG `backfill`: history from files, and statistics computed anew, by a form."""

from datetime import timedelta

from airflow.sdk import Param, TriggerRule
from marquee_tasks import INTERACTION_EVENTS, ITEM_STATISTICS, command, marquee_dag

NEXT_STEP = (
    "the last line above names the file, column and rows that are wrong, or the service that was away; mend it and "
    "clear the task: an import goes on after the rows that are stored."
)

DOC = """
### Backfill

`import_files -> statistics`: events that never came by Kafka are stored, and item statistics follow.

| task | command | leaves |
|---|---|---|
| import_files | `python -m features import` | interactions and items of the files; *skipped* where no file is named |
| statistics | `python -m features statistics` | items whose history changed, and those of the range, computed anew |

Files are Parquet, CSV or JSONL on the machine that runs Airflow's tasks. All rows are looked at before any is written,
and importing again stores only what is missing.

**Where to look.** The end of the first log: rows, stored, there already, left out. With *Only look* nothing is stored.

**When it fails.** A file that is wrong is refused as a whole, with columns, rows and examples; `Leave out bad rows`
imports the rest. After a break clear the task: it goes on where it was. The next training sees the new history:
trigger `train_recommender` to have it now.
"""

PARAMS = {
    "interactions_file": Param(
        None,
        type=["null", "string"],
        maxLength=1000,
        title="File of interactions",
        description="Path of a Parquet, CSV or JSONL file with user_id, item_id, action, occurred_at. Empty: none.",
    ),
    "items_file": Param(
        None,
        type=["null", "string"],
        maxLength=1000,
        title="File of items",
        description="Path of a file with item_id, title, text, categories. Empty: none.",
    ),
    "skip_bad": Param(
        False,  # noqa: FBT003  # the form's default
        type="boolean",
        title="Leave out bad rows",
        description="Off: a file with a row that is wrong is refused as a whole.",
    ),
    "dry_run": Param(
        False,  # noqa: FBT003  # the form's default
        type="boolean",
        title="Only look",
        description="Only look at the files and say what is wrong; nothing is stored.",
    ),
    "since": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Statistics from",
        description="Items with events known at or after this have their statistics computed anew. Empty: only items "
        "whose history came late, which are found by themselves.",
    ),
    "until": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Statistics until",
        description="With the field above: and before this. Empty: until now.",
    ),
}

ENV = {
    "INTERACTIONS": "{{ params.interactions_file or '' }}",
    "ITEMS": "{{ params.items_file or '' }}",
    "SKIP_BAD": "{{ '--skip-bad' if params.skip_bad else '' }}",
    "DRY_RUN": "{{ '--dry-run' if params.dry_run else '' }}",
    "SINCE": "{{ params.since or '' }}",
    "UNTIL": "{{ params.until or '' }}",
}

IMPORT = (
    'if [ -z "$INTERACTIONS$ITEMS" ]; then echo "no file is named in the form: nothing to import"; exit 99; fi; '
    'exec "$MARQUEE_PYTHON" -m features import ${INTERACTIONS:+--interactions "$INTERACTIONS"} '
    '${ITEMS:+--items "$ITEMS"} ${SKIP_BAD:+"$SKIP_BAD"} ${DRY_RUN:+"$DRY_RUN"}'
)
STATISTICS = 'exec "$MARQUEE_PYTHON" -m features statistics ${SINCE:+--since "$SINCE"} ${UNTIL:+--until "$UNTIL"}'


@marquee_dag(
    description="Imports history from files and computes item statistics anew.",
    doc=DOC,
    next_step=NEXT_STEP,
    tag="features",
    late_after=timedelta(hours=6),
    gone_after=timedelta(hours=12),
    params=PARAMS,
)
def backfill() -> None:
    """Build the two tasks."""
    imported = command(
        "import_files",
        IMPORT,
        doc="Looks at all rows, then stores what is missing. Skipped where no file is named.",
        minutes=600,
        retries=1,
        env=ENV,
        outlets=[INTERACTION_EVENTS],
    )
    statistics = command(
        "statistics",
        STATISTICS,
        doc="Computes item statistics anew where history changed, and for the range of the form.",
        minutes=60,
        retries=2,
        env=ENV,
        trigger_rule=TriggerRule.NONE_FAILED,
        inlets=[INTERACTION_EVENTS],
        outlets=[ITEM_STATISTICS],
    )
    imported >> statistics


backfill()
