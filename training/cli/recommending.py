"""`recommend`: lists for many users or all, as a folder of parquet."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from features.log import configure_logging
from features.settings import load_settings
from training.cli.output import make_folder


def recommend(
    *,
    out: Annotated[Path, typer.Option(help="Folder for recommendations.parquet/, _run.json and _SUCCESS.")],
    users: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Parquet with user_id, or an id per line.", show_default="everyone"
        ),
    ] = None,
    k: Annotated[int, typer.Option(min=1, max=1000, help="Length of each list.")] = 20,
    version: Annotated[str | None, typer.Option(help="Version of the model.", show_default="the one served")] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"],
            help="Reads only what was known before it, UTC.",
            show_default="now, or that of the batch that goes on",
        ),
    ] = None,
    part_users: Annotated[
        int | None, typer.Option(min=1, help="Users of each part, about.", show_default="by their number")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Users that are scored at a time.")] = 2,
    publish: Annotated[bool, typer.Option("--publish", help="Announce each list on Kafka when all are there.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Remove the lists that the folder holds first.")] = False,
) -> None:
    """Score users with the version that is served, on their events in Postgres. After a kill: the same command again.

    What is hidden, expired or not yet published is left out; `MARQUEE_FRESH_SHARE` and `MARQUEE_DIVERSITY` hold here as
    in servers. Finished parts are kept where version, moment, length and
    users are the same.
    """
    from training.batch_folder import BatchFolder  # noqa: PLC0415  # slow to import
    from training.recommending import Asked, read_users, recommend_batch  # noqa: PLC0415  # slow to import

    settings = load_settings()
    configure_logging(settings.log_format)
    asked = Asked(
        k=k,
        users=read_users(users) if users else None,
        as_of=_aware(as_of),
        version=version,
        fresh_share=settings.fresh_share,
        diversity=settings.diversity,
        part_users=part_users,
        publish=publish,
    )
    make_folder(out, "--out")
    folder = BatchFolder(out)
    with folder.locked():
        if restart:
            folder.clear()
        done = recommend_batch(settings, asked, folder, now=datetime.now(UTC), threads=threads, progress=_tell)
    typer.echo(f"{done.rows} rows for {done.lists} users in {folder.lists}")
    if publish:
        # Another process, for this package does not know Kafka.
        command = [sys.executable, "-m", "features", "announce", "refreshed", "--lists", str(out)]
        code = subprocess.run(command, check=False).returncode  # noqa: S603  # our own command
        if code == 0:
            folder.note_announced()
        raise typer.Exit(code)


def _aware(at: datetime | None) -> datetime | None:
    if at is None:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _tell(words: str) -> None:
    typer.echo(words, err=True)
