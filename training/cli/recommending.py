"""`recommend`: lists for many users, as a file."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from features.log import configure_logging
from features.settings import load_settings


def recommend(
    users: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Parquet with user_id, or an id per line.")],
    out: Annotated[Path, typer.Option(help="Folder for recommendations.parquet.")],
    k: Annotated[int, typer.Option(min=1, max=1000, help="Length of each list.")] = 20,
) -> None:
    """Score users with the version that is served, on their events in Postgres as of now."""
    from training.recommending import OUTPUT, read_users, recommend_users  # noqa: PLC0415  # slow to import

    settings = load_settings()
    configure_logging(settings.log_format)
    with tempfile.TemporaryDirectory(prefix="marquee-recommend-") as work:
        rows = recommend_users(settings, read_users(users), k, as_of=datetime.now(UTC), work=Path(work), out=out)
    typer.echo(f"{len(rows)} rows for {rows['user_id'].nunique()} users in {out / OUTPUT}")
