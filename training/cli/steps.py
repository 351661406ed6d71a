"""`step`, `run`, `approval`, `outcome`: one step of a training run, as Airflow calls it, or all of them by hand."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, Final, get_args

import msgspec
import typer

from features.cli.plain import plain_console
from features.contracts.times import given_instant
from features.log import configure_logging
from features.settings import load_settings
from training.cli.output import LARGEST_SEED
from training.gating.table import brief, text
from training.steps.approval import When, question, read_answer
from training.steps.options import MIN_EVENTS, RunOptions, read_options
from training.steps.outcome import run_outcome
from training.steps.runner import SKIP_EXIT_CODE, run_step
from training.steps.state import KEPT, SKIPPED, STEPS, RunError, RunFolder, StepRecord

RunId = Annotated[str, typer.Option("--run", help="Names the run's folder below MARQUEE_WORK_DIR.")]
_FLAGS: Final[Mapping[str, object]] = {
    "window_days": Annotated[
        int | None, typer.Option(help="Days of history, back from now or --until.", show_default="all there is")
    ],
    "since": Annotated[
        str | None,
        typer.Option(help="Only interactions known at or after it (RFC 3339).", show_default="all there is"),
    ],
    "until": Annotated[
        str | None,
        typer.Option(help="Only what was known before, as if it ran then.", show_default="all there is"),
    ],
    "factors": Annotated[int | None, typer.Option(help="Latent dimensions of ALS, 8 to 512.", show_default="64")],
    "exclude_seen": Annotated[
        bool | None,
        typer.Option("--exclude-seen/--include-seen", help="Leave out what a user had?", show_default="exclude"),
    ],
    "promote": Annotated[
        bool | None,
        typer.Option(
            "--promote/--no-promote", help="May the champion alias move if the gate allows?", show_default="promote"
        ),
    ],
    "min_events": Annotated[
        int | None, typer.Option(help="With fewer interactions the run is skipped.", show_default=str(MIN_EVENTS))
    ],
    "seed": Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, help="Of every generator in the run.", show_default="0")
    ],
    "tune_trials": Annotated[int | None, typer.Option(help="Trials of a search of better settings.", show_default="0")],
    "tune_minutes": Annotated[
        int | None,
        typer.Option(help="No trial begins later; the run is then not reproducible.", show_default="no limit"),
    ],
}
"""Members of `RunOptions` as flags of a command; what is not given is None."""


def _with_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with a flag for each run option in place of its `options`, which are those given."""

    def with_flags(**given: Any) -> None:
        options = _options(**{name: given.pop(name) for name in _FLAGS})
        command(**given, options=options)

    own = {name: one for name, one in signature(command).parameters.items() if name != "options"}
    flags = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind) for name, kind in _FLAGS.items()]
    with_flags.__name__, with_flags.__doc__ = command.__name__, command.__doc__
    with_flags.__annotations__ = {name: one.annotation for name, one in own.items()} | dict(_FLAGS)
    with_flags.__signature__ = Signature([*own.values(), *flags])  # type: ignore[attr-defined]  # read by Typer
    return with_flags


@_with_run_options
def step(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(STEPS)}.")],
    run_id: RunId,
    *,
    approval: Annotated[
        str, typer.Option(help="Of `promote`: JSON with what a person said, see `approval`; empty: nobody was asked.")
    ] = "",
    options: RunOptions | None = None,
) -> None:
    """Do one step of a training run; one that has finished is not done again.

    Options are taken by `snapshot` only, and hold for the whole run. Exit code 99: nothing to do (too few events), or
    the alias stays. The last line of `gate` is its outcome as JSON.
    """
    settings = load_settings()
    configure_logging(settings.log_format)
    record = run_step(name, run_id, settings, options, read_answer(approval))
    typer.echo("\n".join(_lines(record)))
    if record.outcome in {SKIPPED, KEPT}:
        raise typer.Exit(SKIP_EXIT_CODE)


@_with_run_options
def run(
    run_id: Annotated[str | None, typer.Option("--run", help="Goes on with a run that broke off.")] = None,
    *,
    options: RunOptions | None = None,
) -> None:
    """Do all steps of a training run, one after the other."""
    settings = load_settings()
    configure_logging(settings.log_format)
    name = run_id or f"manual-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    console = plain_console()
    console.print(f"training run {name} in {settings.work_dir / name}")
    for position, current in enumerate(STEPS, start=1):
        with console.status(f"{position}/{len(STEPS)} {current}"):
            record = run_step(current, name, settings, options if current == STEPS[0] else None)
        console.print(_line(position, record), highlight=False)
        if record.outcome == SKIPPED:
            raise typer.Exit(SKIP_EXIT_CODE)


def approval(
    run_id: RunId, *, when: Annotated[str, typer.Option(help=f"One of: {', '.join(get_args(When))}.")] = "gate"
) -> None:
    """Print what a person is asked about the version of a run, as JSON; exit code 99: there is nothing to ask."""
    settings = load_settings()
    run = RunFolder(settings.work_dir, run_id)
    if run.finished("gate").outcome == SKIPPED:
        raise typer.Exit(SKIP_EXIT_CODE)
    asked = question(run, settings, when, promote=read_options(run).promote)
    if asked is None:
        typer.echo(f"nobody is asked: the gate said {run.finished('gate').outcome}, and approval is {when!r}")
        raise typer.Exit(SKIP_EXIT_CODE)
    typer.echo(msgspec.json.encode(asked).decode())


def outcome(
    run_id: RunId,
    *,
    arguments: Annotated[
        bool, typer.Option("--arguments", help="As NUL-separated arguments of `python -m features announce completed`.")
    ] = False,
) -> None:
    """Tell how a training run ended."""
    settings = load_settings()
    ended = run_outcome(RunFolder(settings.work_dir, run_id))
    if arguments:
        typer.echo("\0".join(ended.announcement(settings.model_name)), nl=False)
    else:
        typer.echo(f"{ended.status}: {ended.why}")


def _lines(record: StepRecord) -> list[str]:
    """Return what a finished step prints: the last line is what Airflow keeps for the tasks that follow."""
    line = f"{record.step}: {record.outcome}: {record.summary}"
    if record.step != "gate" or record.outcome == SKIPPED:
        return [line]
    return [text(record.results), line, brief(record.results)]


def _line(position: int, record: StepRecord) -> str:
    return f"{position}/{len(STEPS)} {record.step:<9} {record.took_s:7.1f} s  {record.outcome}: {record.summary}"


def _options(**values: str | int | bool | None) -> RunOptions | None:
    """Return the options that were given, checked; None where none was.

    Raises
    ------
    RunError
        Naming the option whose value is out of its limits.
    """
    given: dict[str, object] = {name: value for name, value in values.items() if value is not None}
    given |= {name: given_instant(str(given[name]), f"--{name}") for name in ("since", "until") if name in given}
    try:
        return msgspec.convert(given, RunOptions) if given else None
    except msgspec.ValidationError as error:
        raise RunError(f"options {given}: {error}. `python -m training step --help` tells the limits.") from error
