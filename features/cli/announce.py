"""`announce`: tell the world that a training began or ended."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer

from features.contracts.errors import ContractError
from features.kafka import TRAINING_COMPLETED, TRAINING_STARTED, EventProducer
from features.settings import load_settings

TIMEOUT_S = 10


class Kind(StrEnum):
    """What there is to announce."""

    STARTED = "started"
    COMPLETED = "completed"


class Status(StrEnum):
    """How a training ended."""

    SUCCESS = "success"
    FAILED = "failed"
    REFUSED = "refused"
    SKIPPED = "skipped"


def announce(
    kind: Kind,
    *,
    run: Annotated[str, typer.Option(help="Id of the training run.")],
    model_type: Annotated[str, typer.Option(help="What kind of model is trained.")] = "two-stage-als-lightgbm",
    parameters: Annotated[str, typer.Option(help="started: parameters of the run, a JSON object.")] = "{}",
    status: Annotated[Status | None, typer.Option(help="completed: how it ended.")] = None,
    metrics: Annotated[str, typer.Option(help="completed: metrics, a JSON object.")] = "{}",
    artifact_path: Annotated[str | None, typer.Option(help="completed: where the model lies.")] = None,
) -> None:
    """Publish `recommendation-service.model-training-started` or `-completed`."""
    settings = load_settings()
    now = datetime.now(UTC)
    common = {"model_id": settings.model_name, "training_id": run}
    if kind is Kind.STARTED:
        topic = TRAINING_STARTED
        message = common | {
            "model_type": model_type,
            "start_time": now,
            "parameters": _json_object("parameters", parameters),
        }
    else:
        if status is None:
            raise typer.BadParameter("a training that is completed has a status", param_hint="--status")
        topic = TRAINING_COMPLETED
        message = common | {
            "status": status.value,
            "metrics": _json_object("metrics", metrics),
            "artifact_path": artifact_path,
            "completion_time": now,
        }
    producer = EventProducer(settings)
    try:
        producer.send_bytes(topic, run.encode(), msgspec.json.encode(message)).result(TIMEOUT_S)
    finally:
        producer.close()
    typer.echo(f"announced on {topic}")


def _json_object(name: str, text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ContractError(f"--{name} {text!r:.200}: {error}; expected a JSON object") from None
