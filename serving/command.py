"""The command `python -m serving`."""

import logging
from typing import Annotated

import typer

from features.contracts.errors import MarqueeError
from features.log import configure_logging
from features.settings import load_settings
from serving.replay_command import replay
from serving.server import serve
from serving.workers import serve_with_workers

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(replay)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that serve; MARQUEE_WORKERS by default.")
    ] = None,
) -> None:
    """Serve the API on MARQUEE_API_HOST and MARQUEE_API_PORT, until SIGTERM; SIGHUP restarts workers in turn."""
    if context.invoked_subcommand is not None:
        return
    try:
        settings = load_settings()
        settings = settings if workers is None else settings.model_copy(update={"workers": workers})
        configure_logging(settings.log_format)
        # It warns of each attempt to reach MLflow; that it is away is said once, by the refresh that failed.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        if settings.workers > 1:
            raise typer.Exit(serve_with_workers(settings))
        serve(settings)
    except MarqueeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
