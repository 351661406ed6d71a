"""``python -m ops.demo``: real events through Kafka, a model trained in Airflow, an answer that a click changes."""

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from features.contracts.errors import MarqueeError
from features.settings import load_settings
from ops.demo import commands, dataset, landed, newcomer, people, play, texts, train
from ops.demo.api import Api
from ops.local.layout import chosen_layout
from ops.local.stack import Stack
from ops.local.status import addresses
from ops.local.up import up

SERVED_WITHIN_S = 90.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False)


@app.command()
def demo(data: Annotated[Path | None, typer.Option(help="a MovieLens folder, or interactions.parquet")] = None) -> None:
    """Run the whole line once and leave the stack running."""
    started = time.monotonic()
    events = dataset.load(data)
    _heading("The stack")
    stack = up(chosen_layout(), os.environ, console)
    settings = stack.settings()
    os.environ.update(settings)
    _heading(
        f"{len(events.interactions):,} interactions with {len(events.items):,} items of {events.name} through Kafka"
    )
    before = commands.partitions(settings)
    produced = play.play(events, load_settings(), datetime.now(UTC), console)
    landed.wait_landed(produced, before, settings, console)
    landed_at = datetime.now(UTC)
    _heading("Item statistics")
    console.print(commands.run(["features", "statistics"], settings).strip(), markup=False)
    _heading("Training, in Airflow")
    train.train(settings, landed_at, console)
    champion = train.promoted(settings, console)
    if champion is None:
        raise MarqueeError("no version is promoted yet: the gate's reasons are above and in Airflow's log of `gate`")
    with Api(settings["MARQUEE_API_URL"]) as api:
        _heading(f"Recommendations of version {champion.version}")
        api.wait_for_version(champion.version, SERVED_WITHIN_S)
        for user in people.choose_people(events):
            people.show_person(events, user, api, console)
        _heading("Someone new")
        newcomer.newcomer(events, api, console)
        _heading("Something new")
        texts.new_text(events, api, console)
    _farewell(stack, time.monotonic() - started)


def _heading(text: str) -> None:
    """Print the name of a step."""
    console.print(f"\n[bold cyan]== {text}[/bold cyan]")


def _farewell(stack: Stack, seconds: float) -> None:
    """Print where to look next."""
    _heading(f"Done in {seconds:.0f} s; the stack keeps running (`make status`, `make down`)")
    console.print(addresses(stack), soft_wrap=True, markup=False)


def main() -> int:
    """Return the exit code: 2 with one clear message for everything we know to say no to."""
    try:
        app()
    except MarqueeError as error:
        console.print(str(error), markup=False, style="red")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
