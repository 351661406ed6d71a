"""The commands of `python -m features`, put together."""

import typer

from features.cli import (
    announce,
    dead_letters,
    doctor,
    embed,
    encoders,
    erasure,
    export,
    importing,
    items,
    landing,
    mappings,
    offsets,
    reconcile,
    retention,
    schemas,
    setup,
    statistics,
)
from features.cli.entry import run

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Events in, trustworthy tables out. Settings are MARQUEE_* variables; `. .run/env` sets those of the stack.",
)
app.command()(setup.migrate)
app.command()(setup.topics)
app.command()(landing.land)
app.command("import")(importing.import_files)
app.command()(export.export)
app.command()(statistics.statistics)
app.command()(reconcile.reconcile)
app.command()(erasure.erase)
app.command()(retention.retain)
app.command()(doctor.doctor)
app.command()(schemas.schemas)
app.command()(announce.announce)
app.command()(embed.embed)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(mappings.app, name="mappings")
app.add_typer(offsets.app, name="offsets")
app.add_typer(encoders.app, name="encoders")
app.add_typer(items.app, name="items")


def main() -> None:
    """Run the command that the arguments name."""
    run(app)
