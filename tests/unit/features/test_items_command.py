"""Items are read from a file as its lines say them."""

from pathlib import Path

import msgspec
import pytest

from features.cli import items
from features.contracts.events import Event, Item


def test_a_line_of_items_ends_only_where_its_json_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles = ["one\u2028line", "another\x85one"]
    file = tmp_path / "items.jsonl"
    lines = [msgspec.json.encode({"item_id": f"i{number}", "title": title}) for number, title in enumerate(titles)]
    file.write_bytes(b"\r\n".join([*lines, b""]))
    published: list[Event] = []
    monkeypatch.setattr(items, "_publish", published.extend)  # what is read matters, no broker
    items.create(file=file)
    assert [event.title for event in published if isinstance(event, Item)] == titles
