"""`migrate` and `topics`: what must exist before events flow."""

from typing import Annotated

import typer

from features.settings import load_settings


def migrate() -> None:
    """Bring the database's schema up to date; safe to repeat."""
    from features.db import migrate as migrations  # noqa: PLC0415  # Alembic is slow to import, landing does without

    typer.echo(f"schema is at revision {migrations.migrate(load_settings())}")


def topics(
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of each new topic.")] = 4,
) -> None:
    """Create the Kafka topics that do not exist yet; those that do stay as they are."""
    from features.kafka import landed_topics  # noqa: PLC0415
    from features.kafka_admin import Admin  # noqa: PLC0415

    settings = load_settings()
    with Admin(settings) as admin:
        created = admin.create_topics(landed_topics(settings), partitions)
    typer.echo(f"created {len(created)} topics" + "".join(f"\n  {name}" for name in created))
