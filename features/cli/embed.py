"""`embed`: the embedder."""

from typing import Annotated

import typer

from features.cli.process import begin_service
from features.settings import load_settings


def embed(
    *,
    once: Annotated[bool, typer.Option("--once", help="Stop once every item has its vectors.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Texts embedded at once.")] = 500,
    scan_every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at all items, at least.")] = 60,
    metrics_host: Annotated[str, typer.Option(help="Address that its series for Prometheus bind.")] = "127.0.0.1",
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of its series for Prometheus; 0 = none.")
    ] = 0,
) -> None:
    """Make vectors of new and changed texts until SIGTERM or SIGINT; any number of embedders share the work."""
    from features.embedding.run import Embedder, EmbedOptions  # noqa: PLC0415  # compiled code, which others do without

    settings = load_settings()
    stop = begin_service(settings)
    options = EmbedOptions(
        batch=batch, once=once, scan_every_s=scan_every, metrics_host=metrics_host, metrics_port=metrics_port
    )
    Embedder(settings, options, stop).run()
