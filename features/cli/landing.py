"""`land`: the Kafka consumer."""

import gc
from typing import Annotated

import typer

from features.cli.process import begin_service
from features.landing.run import Landing, LandingOptions
from features.settings import load_settings


def land(
    *,
    batch_size: Annotated[int, typer.Option(min=1, help="Messages at which a batch is written.")] = 10_000,
    slot: Annotated[str | None, typer.Option(help="Name that survives restarts, one per process of the group.")] = None,
    until_caught_up: Annotated[bool, typer.Option(help="Stop once everything is landed.")] = False,
    metrics_host: Annotated[str, typer.Option(help="Address that its series for Prometheus bind.")] = "127.0.0.1",
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of its series for Prometheus; 0 = none.")
    ] = 0,
) -> None:
    """Land events from Kafka in Postgres, exactly once in effect, until SIGTERM or SIGINT."""
    settings = load_settings()
    stop = begin_service(settings)
    # A batch is tens of thousands of objects without a cycle among them: looking for cycles as often as Python does by
    # itself takes a third of the time of reading and decoding.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    options = LandingOptions(batch_size, slot, until_caught_up, metrics_host, metrics_port)
    Landing(settings, options, stop).run()
