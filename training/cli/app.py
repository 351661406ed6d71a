"""The commands of `python -m training`, put together."""

import typer

from features.cli.entry import run
from training.cli import backtest, compare, diff, due, recommending, reproduce, skew, steps, versions, weights

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Tables in, one verified bundle out. Settings are MARQUEE_* variables; `. .run/env` sets those of the stack.",
)
app.command()(steps.step)
app.command()(steps.run)
app.command()(steps.approval)
app.command()(steps.outcome)
app.command()(due.due)
app.command("versions")(versions.list_versions)
app.command()(versions.promote)
app.command()(versions.rollback)
app.command()(versions.history)
app.command()(recommending.recommend)
app.command()(backtest.backtest)
app.command()(weights.weights)
app.command()(compare.compare)
app.command()(skew.skew)
app.command()(diff.diff)
app.command()(reproduce.reproduce)


def main() -> None:
    """Run the command that the arguments name."""
    run(app)
