"""The command `python -m serving replay`."""

from collections.abc import Iterator
from typing import Annotated, Any

import orjson
import typer

from features.audit import Deed, account
from features.contracts.errors import MarqueeError
from features.db.connection import connect
from features.log import configure_logging
from features.settings import load_settings
from serving.operator_jobs import replay_record
from serving.replaying import open_from


def replay(
    recommendation_id: Annotated[str, typer.Argument(help="`recommendation_id` of a recorded answer.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")] = False,
) -> None:
    """Compute a recorded list again, with the bundle that MARQUEE_CACHE_DIR keeps; exit code 1 where it differs."""
    try:
        settings = load_settings()
        configure_logging(settings.log_format)
        with connect(settings, name="replay") as connection:
            outcome = replay_record(
                connection, recommendation_id, settings.record_share, open_from(settings.cache_dir), _deed
            )
    except MarqueeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo(orjson.dumps(outcome).decode() if json else "\n".join(_lines(outcome)))
    raise typer.Exit(0 if outcome["same"] else 1)


def _deed(action: Any, target: str, **details: Any) -> Deed:
    return Deed(account(), action, target, details=details)


def _lines(outcome: dict[str, Any]) -> Iterator[str]:
    yield f"{outcome['recommendation_id']}: {'the same, bit for bit' if outcome['same'] else 'not the same'}"
    for part in ("items", "order", "scores", "candidates", "feature_rows"):
        if outcome[part] is not None:
            yield f"  {part.replace('_', ' ')}: {'same' if outcome[part]['same'] else 'different'}"
    for name in ("missing", "added"):
        if outcome["items"][name]:
            yield f"  {name}: {', '.join(outcome['items'][name])}"
    for found in (outcome["feature_rows"] or {}).get("features", ()):
        example = found["example"]
        yield (
            f"  {found['name']}: {found['different_count']} values, such as {example['served']} served and "
            f"{example['replayed']} now of {example['item_id']}"
        )
    yield from (f"  {note}" for note in outcome["notes"])
