"""`announce`: tell the world that a training began or ended, or that lists were made anew."""

import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from features.contracts.errors import ContractError
from features.kafka import TRAINING_COMPLETED, TRAINING_STARTED, EventProducer, wait_all
from features.settings import Settings, load_settings

TIMEOUT_S = 10


class Kind(StrEnum):
    """What there is to announce."""

    STARTED = "started"
    COMPLETED = "completed"
    REFRESHED = "refreshed"


class Status(StrEnum):
    """How a training ended."""

    SUCCESS = "success"
    FAILED = "failed"
    REFUSED = "refused"
    SKIPPED = "skipped"


def announce(
    kind: Kind,
    *,
    run: Annotated[str | None, typer.Option(help="started, completed: id of the training run.")] = None,
    model_type: Annotated[str, typer.Option(help="What kind of model is trained.")] = "two-stage-als-lightgbm",
    parameters: Annotated[str, typer.Option(help="started: parameters of the run, a JSON object.")] = "{}",
    status: Annotated[Status | None, typer.Option(help="completed: how it ended.")] = None,
    metrics: Annotated[str, typer.Option(help="completed: metrics, a JSON object.")] = "{}",
    artifact_path: Annotated[str | None, typer.Option(help="completed: where the model lies.")] = None,
    lists: Annotated[
        Path | None, typer.Option(help="refreshed: folder that `python -m training recommend` wrote.")
    ] = None,
) -> None:
    """Publish `recommendation-service.model-training-started`, `-completed` or `.recommendations-refreshed`.

    The last is one message for each list of a finished folder. Saying it again is harmless: ids and times are the same.
    """
    settings = load_settings()
    if kind is Kind.REFRESHED:
        if lists is None:
            raise typer.BadParameter("lists that were made anew lie in a folder", param_hint="--lists")
        from features.refreshed import announce_lists  # noqa: PLC0415  # Arrow is slow to import

        typer.echo(f"{announce_lists(settings, lists, lambda words: typer.echo(words, err=True))} lists announced")
        return
    if run is None:
        raise typer.BadParameter("a training has a run", param_hint="--run")
    now = datetime.now(UTC)
    common = {"model_id": settings.model_name, "training_id": run}
    if kind is Kind.STARTED:
        message = common | {
            "model_type": model_type,
            "start_time": now,
            "parameters": _json_object("parameters", parameters),
        }
        _send(settings, TRAINING_STARTED, run, message)
        return
    if status is None:
        raise typer.BadParameter("a training that is completed has a status", param_hint="--status")
    message = common | {
        "status": status.value,
        "metrics": _json_object("metrics", metrics),
        "artifact_path": artifact_path,
        "completion_time": now,
    }
    _send(settings, TRAINING_COMPLETED, run, message)


def _send(settings: Settings, topic: str, run: str, message: dict[str, Any]) -> None:
    producer = EventProducer(settings)
    try:
        sent = producer.send_bytes(topic, run.encode(), msgspec.json.encode(message))
        wait_all([sent], time.monotonic() + TIMEOUT_S)
    finally:
        producer.close()
    typer.echo(f"announced on {topic}")


def _json_object(name: str, text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ContractError(f"--{name} {text!r:.200}: {error}; expected a JSON object") from None
