"""JSON Schemas of the event forms, as the files in `schemas/` that other teams read."""

from pathlib import Path
from typing import Final

import msgspec

from features.contracts.events import EVENT_TYPES

FOLDER: Final = Path(__file__).with_name("schemas")


def render() -> dict[str, str]:
    """Return each form's schema as formatted JSON text, by file name."""
    return {f"{tag}.json": _text(form) for tag, form in EVENT_TYPES.items()}


def _text(form: type[msgspec.Struct]) -> str:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(form)}
    return msgspec.json.format(msgspec.json.encode(schema, order="deterministic"), indent=2).decode() + "\n"


def write(folder: Path = FOLDER) -> list[Path]:
    """Return the files after writing every schema to its own."""
    folder.mkdir(exist_ok=True)
    for name, text in render().items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in render()]
