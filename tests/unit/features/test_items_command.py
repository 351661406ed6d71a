"""Items are read from a file as its lines say them."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from features.cli import items
from features.cli.app import app
from features.contracts.errors import ContractError
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


def test_items_come_from_standard_input_and_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[Event] = []
    monkeypatch.setattr(items, "_publish", published.extend)  # what is read matters, no broker
    asked = ["items", "create", "--file"]
    found = CliRunner().invoke(app, [*asked, "-"], input='{"item_id": "i1"}\n{"item_id": "i2"}\n')
    assert (found.exit_code, found.stdout.split()) == (0, ["i1", "i2"]), found.output
    assert [event.item_id for event in published if isinstance(event, Item)] == ["i1", "i2"]
    with pytest.raises(ContractError, match=r"/no/such\.jsonl: cannot be read: No such file"):
        CliRunner().invoke(app, [*asked, "/no/such.jsonl"], catch_exceptions=False)
    with pytest.raises(ContractError, match="cannot be read: Is a directory"):
        CliRunner().invoke(app, [*asked, "/"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (r'{"item_id": "i", "title": "\ud83d"}', "truncated"),
        (r'{"item_id": "i", "title": "\udc00!"}', "invalid utf-16 surrogate pair"),
        ('{"item_id": "i", "attributes": {"n": 1e999}}', "Number out of range"),
        ('{"item_id": "i", "attributes": {"n": NaN}}', "invalid character"),
        ('["item_id", "i"]', "Expected `object`, got `array`"),
        ('{"attributes":' + "[" * 100_000, "recursion"),
    ],
)
def test_a_line_that_no_event_could_hold_is_named_and_nothing_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, told: str
) -> None:
    (file := tmp_path / "items.jsonl").write_text(f'{{"item_id": "good"}}\n\n{line}\n', encoding="utf-8")
    published: list[Event] = []
    monkeypatch.setattr(items, "_publish", published.extend)  # what is read matters, no broker
    with pytest.raises(ContractError, match=rf"items\.jsonl, line 3: .* is no JSON object: .*{told}"):
        items.create(file=file)
    with pytest.raises(ContractError, match=rf"--attributes: .* is no JSON object: .*{told}"):
        items.create("i", attributes=line)
    assert not published


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"item_id": "i", "titel": "x"}, "member 'titel' is unknown; perhaps 'title' is meant"),
        ({"item_id": "i", "partial": True}, "member 'partial' is unknown"),
        ({"item_id": "i", "author": "a", "attributes": [1]}, r"attributes \[1\]; expected an object"),
    ],
)
def test_a_line_that_says_something_else_is_refused_and_nothing_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: dict[str, object], told: str
) -> None:
    (file := tmp_path / "items.jsonl").write_bytes(b'{"item_id": "good"}\n' + msgspec.json.encode(line))
    published: list[Event] = []
    monkeypatch.setattr(items, "_publish", published.extend)  # what is read matters, no broker
    with pytest.raises(ContractError, match=told):
        items.create(file=file)
    assert not published


def test_a_file_of_items_is_not_mixed_with_options_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "items.jsonl").write_bytes(b'{"item_id": "good"}\n')
    published: list[Event] = []
    monkeypatch.setattr(items, "_publish", published.extend)  # what is read matters, no broker
    for more in (["own-id"], ["--title", "t"], ["--category", "c"], ["--attributes", '{"year": 1}']):
        with pytest.raises(ContractError, match="leave out the id and the other options"):
            CliRunner().invoke(app, ["items", "create", "--file", str(file), *more], catch_exceptions=False)
    assert not published


def test_an_empty_id_is_refused_and_a_missing_one_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a script whose variable is not set."""
    published: list[Event] = []
    monkeypatch.setattr(items, "_publish", published.extend)  # what is read matters, no broker
    with pytest.raises(ContractError, match="item_id"):
        CliRunner().invoke(app, ["items", "create", "", "--title", "t"], catch_exceptions=False)
    assert not published
    made = CliRunner().invoke(app, ["items", "create", "--title", "t"])
    assert [event.item_id for event in published if isinstance(event, Item)] == made.stdout.split()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b'{"detail":"1 value is malformed","errors":[{"path":"query","message":"is empty"}]}', "query is empty"),
        (b'{"detail":"there is no encoder yet","instance":"/"}', "there is no encoder yet"),
        (b"<h1>502 Bad Gateway</h1>", "<h1>502 Bad Gateway</h1>"),
    ],
)
def test_a_refused_search_says_why_in_words(answer: bytes, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the base class looks for this name
            self.send_response(422)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        monkeypatch.setenv("MARQUEE_API_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("MARQUEE_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing")
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        with pytest.raises(ContractError, match="status 422") as refused:
            items.search("")
        thread.join()
    assert str(refused.value).endswith(said)
