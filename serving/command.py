"""The command `python -m serving`."""

import logging

import typer

from features.contracts.errors import MarqueeError
from features.log import configure_logging
from features.settings import load_settings
from serving.replay_command import replay
from serving.server import serve

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(replay)


@app.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    """Serve the API on MARQUEE_API_HOST and MARQUEE_API_PORT, until SIGTERM."""
    if context.invoked_subcommand is not None:
        return
    try:
        settings = load_settings()
        configure_logging(settings.log_format)
        # It warns of each attempt to reach MLflow; that it is away is said once, by the refresh that failed.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        serve(settings)
    except MarqueeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
