"""`encoders`: how texts become vectors, by version."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from features.cli.plain import plain_console
from features.contracts.errors import ContractError
from features.db.connection import Connection, connect, database_errors
from features.db.queries import queries
from features.log import configure_logging
from features.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Encoders: how texts become vectors, by version.")


@app.command("list")
def show(*, json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """List all encoders, newest first, with how many vectors each has made."""
    from features.embedding.encoders import known_encoders  # noqa: PLC0415

    with connect(load_settings(), name="encoders", autocommit=True) as connection:
        known = known_encoders(connection)
        with database_errors("counting vectors"):
            made = {digest: (vectors, failed) for digest, _, vectors, failed in queries.encoder_progress(connection)}
    counts = [made.get(one.digest, (0, 0)) for one in known]
    if json:
        both = zip(known, counts, strict=True)
        said = [{**msgspec.to_builtins(one), "vectors": vectors, "failed": failed} for one, (vectors, failed) in both]
        typer.echo(msgspec.json.format(msgspec.json.encode(said)).decode())
        return
    table = Table("encoder", "kind", "state", "named", "fitted on", "vectors", "failed", "created at (UTC)", "reason")
    for one, (vectors, failed) in zip(known, counts, strict=True):
        numbers = (f"{one.fitted_on:,}", f"{vectors:,}", str(failed))
        reason = str(one.figures.get("reason", ""))
        named = "yes" if one.named else ""
        table.add_row(one.digest[:16], one.kind, one.state, named, *numbers, f"{one.created_at:%Y-%m-%d %H:%M}", reason)
    plain_console(200).print(table)


@app.command()
def fit(
    *,
    if_needed: Annotated[
        bool, typer.Option("--if-needed", help="Only if there is none, the corpus has outgrown it, or texts drift.")
    ] = False,
    minilm: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="A language model's folder (model.onnx, tokenizer.json), as `make minilm` fetches one.",
        ),
    ] = None,
) -> None:
    """Fit a new encoder on the texts in Postgres; embedders make its vectors beside those of the old one."""
    from features.embedding import fitting  # noqa: PLC0415

    settings = load_settings()
    configure_logging(settings.log_format)
    digest = fitting.fit(settings, if_needed=if_needed, wait=not if_needed, minilm_folder=minilm)
    typer.echo("no new encoder is needed" if digest is None else digest)


@app.command()
def prune(
    *,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="First retire all that are ready but the newest and this one (first digits do); repeat."),
    ] = None,
    files: Annotated[
        bool, typer.Option("--files", help="Also delete files that bundles named: they can no longer be searched.")
    ] = False,
) -> None:
    """Delete the vectors of retired encoders, and their files if no bundle ever named them."""
    from features.embedding.encoders import keep_only  # noqa: PLC0415
    from features.embedding.upkeep import prune as delete  # noqa: PLC0415

    settings = load_settings()
    configure_logging(settings.log_format)
    with connect(settings, name="encoders", autocommit=True, statement_timeout_s=600) as connection:
        if keep is not None:
            for digest in keep_only(connection, _digests(connection, keep)):
                typer.echo(f"{digest} is retired")
        with database_errors("deleting vectors"):
            vectors, parts = delete(connection, files=files)
    typer.echo(f"deleted {vectors:,} vectors and {parts} parts of files")


def _digests(connection: Connection, named: list[str]) -> list[str]:
    """Return the digests that begin as those named.

    Raises
    ------
    ContractError
        If one names none, or several.
    """
    from features.embedding.encoders import known_encoders  # noqa: PLC0415

    known = [one.digest for one in known_encoders(connection)]
    found = []
    for name in named:
        matches = [digest for digest in known if digest.startswith(name)]
        if len(matches) != 1:
            raise ContractError(
                f"--keep {name} names {len(matches)} encoders, expected one; `encoders list --json` shows whole digests"
            )
        found += matches
    return found
