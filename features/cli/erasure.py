"""`erase`: take users out of everything that we hold."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from features.admin.erasure import Receipt, erased_target
from features.admin.erasure import erase as erase_user
from features.admin.user_files import Scan
from features.audit import Deed, account, note
from features.contracts.lines import lines_of
from features.db.connection import connect
from features.settings import load_settings


def erase(
    user_ids: Annotated[list[str] | None, typer.Argument(help="Users to erase.")] = None,
    *,
    listed: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="A file of user ids, one a line, to the letter: spaces count. Empty lines are skipped; - reads them "
            "from standard input.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be erased.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the receipts as JSON, one a line.")] = False,
) -> None:
    """Erase users: their rows, letters, and whatever of them arrives later; prints a receipt for each."""
    wanted = [*(user_ids or ()), *(read_ids(listed) if listed else ())]
    if not wanted:
        raise typer.BadParameter("name at least one user")
    settings = load_settings()
    with connect(settings, name="erase", statement_timeout_s=600) as connection:
        for user_id in wanted:
            receipt = erase_user(settings, connection, user_id, datetime.now(UTC), dry_run=dry_run)
            if not dry_run:
                details = {"rows": receipt.rows, "dead_letters": receipt.dead_letters}
                note(connection, Deed(account(), "erase", erased_target(settings, user_id), details=details))
            typer.echo(msgspec.json.encode(receipt).decode() if json else "\n".join(_lines(user_id, receipt)))


def read_ids(listed: str) -> Sequence[str]:
    """Return the ids that a file lists, one a line; `-` is standard input."""
    return [line for line in lines_of(listed) if line]


def _lines(user_id: str, receipt: Receipt) -> Iterator[str]:
    done = "would be erased (dry run)" if receipt.dry_run else f"erased at {receipt.erased_at:%Y-%m-%d %H:%M:%S} UTC"
    yield f"user {user_id!r} {done}" + (f", time {receipt.erasures}" if receipt.erasures > 1 else "")
    yield "  rows: " + ", ".join(f"{table} {count}" for table, count in receipt.rows.items())
    yield f"  dead letters emptied: {receipt.dead_letters}"
    taken_out = "would be taken out" if receipt.dry_run else "taken out"
    yield from _files("snapshots of training runs", receipt.snapshots, taken_out)
    yield from _files("exports", receipt.exports, taken_out)
    yield from _files("batch lists", receipt.lists, taken_out)
    for topic in receipt.topics:
        until = f"until {topic.gone_by:%Y-%m-%d %H:%M} UTC" if topic.gone_by else "for as long as the topic keeps them"
        held = "may hold what was published of the user" if topic.messages is None else f"{topic.messages} messages"
        read = "" if topic.messages is None else "; they are dropped when read again"
        yield f"  Kafka topic {topic.topic}: {held} {until}{read}"
    yield f"  Kafka: {receipt.kafka}" if receipt.kafka else "  Kafka: retention asked"
    yield f"  item statistics: {receipt.item_statistics}"
    yield from (f"  models: {line}" for line in receipt.models)
    yield f"  logs: {receipt.logs}"
    yield f"  backups: {receipt.backups}"


def _files(what: str, scan: Scan, taken_out: str) -> Iterator[str]:
    held = len(scan.holding) + len(scan.rewritten)
    yield f"  {what}: {held} of {scan.files} files hold or held the user" + (f"; {scan.note}" if scan.note else "")
    yield from (f"    {file.path}: {file.rows} rows {taken_out}" for file in scan.rewritten)
    yield from (f"    {file.path} ({file.rows} rows): delete it" for file in scan.holding)
