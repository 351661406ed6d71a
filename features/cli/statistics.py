"""`statistics`: advance item statistics to the newest closed bucket."""

import typer

from features.build.live_statistics import refresh_statistics
from features.settings import load_settings


def statistics() -> None:
    """Advance item statistics to the newest closed 15 minutes; safe to repeat."""
    done = refresh_statistics(load_settings())
    typer.echo(f"closed at {done.closed_at.isoformat()}: {done.rows} rows added, {done.items_rebuilt} items rebuilt")
