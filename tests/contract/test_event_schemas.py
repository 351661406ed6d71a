"""The committed JSON Schemas are those of the forms, and agree with the decoder on the design's examples."""

import json
from typing import Any

import jsonschema
import pytest

from features.contracts.event_problems import EventError
from features.contracts.events import EVENT_TYPES, decode_event
from features.contracts.schema_files import FOLDER, render

EVENT = {"schema_version": 1, "event_id": "e1", "occurred_at": "2026-01-01T00:00:00Z"}
EXAMPLES: dict[str, dict[str, Any]] = {
    "interaction": {"user_id": "u1", "item_id": "i1", "action": "view", "value": 1.0, "context": {}},
    "impression": {"user_id": "u1", "recommendation_id": "r", "items": [{"item_id": "i1", "position": 1}]},
    "item": {"item_id": "i1", "title": "T", "categories": ["a"], "hidden": False, "expires_at": None},
    "user": {"user_id": 7, "attributes": {"country": "NL"}},
    "feedback": {"recommendation_id": "r", "user_id": None, "item_id": "i1", "outcome": "clicked"},
}
BROKEN = [("event_id", ""), ("event_id", "e" * 65), ("occurred_at", 5), ("schema_version", 2), ("event_id", None)]


def test_the_committed_files_are_those_of_the_forms() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}

    assert committed == render(), "run `python -m features schemas --write`"


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_schema_and_decoder_agree(kind: str) -> None:
    schema = json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8"))
    example = {"type": kind, **EVENT, **EXAMPLES[kind]}
    validator = jsonschema.Draft202012Validator(schema)

    assert validator.is_valid(example)
    decode_event(json.dumps(example).encode())
    for field, value in BROKEN:
        broken = {**example, field: value}
        assert not validator.is_valid(broken), field
        with pytest.raises(EventError):
            decode_event(json.dumps(broken).encode())
