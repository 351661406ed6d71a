"""`schemas`: the JSON Schemas of the event forms."""

from typing import Annotated

import typer

from features.contracts import schema_files


def schemas(*, write: Annotated[bool, typer.Option(help="Write them to features/contracts/schemas.")] = False) -> None:
    """Print the JSON Schemas of all event forms, or write them where they are committed."""
    if write:
        for path in schema_files.write():
            typer.echo(path)
    else:
        for name, text in schema_files.render().items():
            typer.echo(f"{name}\n{text}")
