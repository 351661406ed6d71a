"""`items`: the catalogue: list, get, create, stats, search."""

import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from features.cli.plain import plain_console
from features.contracts.errors import ContractError, UnavailableError
from features.contracts.event_problems import UNREADABLE, nearest_member
from features.contracts.events import Event, Item, stamp_event
from features.contracts.lines import lines_of
from features.db.connection import connect, database_errors
from features.db.queries import queries
from features.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="The catalogue: list, get, create, count and search items.")

DELIVERY_S = 60.0
SEARCH_S = 10.0
_MOST_TOLD: Final = 20_000
"""Bytes of a refusal that are read."""
_MOST_QUOTED: Final = 2_000
"""Characters that are quoted of one that is no problem document."""
MAX_K: Final = 500
"""As the API has it."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
_LISTED = ("item_id", "title", "categories", "hidden", "created_at")
_WHOLE = (
    *("item_id", "title", "text", "categories", "attributes", "hidden", "deleted", "stock", "published_at"),
    *("expires_at", "occurred_at", "created_at", "changed_at", "embedded_by", "embedding_error"),
)
_MEMBERS: Final = frozenset({*Item.__struct_fields__, "author"} - {"type", "partial"})
_COUNTS = ("items", "not_deleted", "hidden", "out_of_stock", "without_text")
_STAND = ("encoder", "kind", "state", "fitted_on", "created_at", "embedded", "waiting", "failed", "oldest")


@app.command("list")
def show(
    *,
    category: Annotated[str | None, typer.Option(help="Only items of this category.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Items at most.")] = 20,
    before: Annotated[str | None, typer.Option(help="Go on after this item: the last one of the page before.")] = None,
    json: Json = False,
) -> None:
    """List items, the newest first; what is deleted is left out."""
    with connect(load_settings(), name="items", autocommit=True) as connection, database_errors("listing items"):
        at = None if before is None else _whole(queries.whole_item(connection, item_id=before), before)["created_at"]
        found = queries.listed_items(connection, before_at=at, before_id=before or "", category=category, at_most=limit)
        rows = [dict(zip(_LISTED, row, strict=True)) for row in found]
    if json:
        _print_json(rows)
        return
    table = Table(*_LISTED)
    for row in rows:
        hidden = "yes" if row["hidden"] else ""
        table.add_row(
            row["item_id"], row["title"][:60], ", ".join(row["categories"])[:40], hidden, _moment(row["created_at"])
        )
    _console().print(table)


@app.command()
def get(item_id: Annotated[str, typer.Argument(help="Its id.")]) -> None:
    """Print all that is known of an item, as JSON; exit code 2 where there is none."""
    with connect(load_settings(), name="items", autocommit=True) as connection, database_errors("reading an item"):
        row = queries.whole_item(connection, item_id=item_id)
    _print_json(_whole(row, item_id))


@app.command()
def create(
    item_id: Annotated[str | None, typer.Argument(help="Its id; a random one by default.")] = None,
    *,
    title: Annotated[str, typer.Option(help="Its title.")] = "",
    text: Annotated[str, typer.Option(help="Its text.")] = "",
    author: Annotated[str | None, typer.Option(help="Who made it.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="A category; may be repeated.")] = None,
    attributes: Annotated[str, typer.Option(help="Further attributes, a JSON object.")] = "{}",
    file: Annotated[Path | None, typer.Option(help="Instead: JSON lines, an item each; - = stdin.")] = None,
) -> None:
    """Publish items: as versions on Kafka's topic, like POST /api/v1/items; prints their ids once Kafka has them."""
    said = {"title": title, "text": text, "author": author, "categories": category or []}
    if file is not None:
        if item_id is not None or any(said.values()) or attributes != "{}":
            raise ContractError(f"--file {file} says all of its items; leave out the id and the other options")
        forms = _forms(file)
    else:
        own = {} if item_id is None else {"item_id": item_id}
        forms = [{**own, "attributes": _object(attributes, "--attributes"), **said}]
    events = [_event(form) for form in forms]
    _publish(events)
    for form in forms:
        typer.echo(str(form.get("item_id")))


@app.command()
def stats(*, json: Json = False) -> None:
    """Count items and what is embedded of them: by each encoder in use, what waits and since when."""
    with connect(load_settings(), name="items", autocommit=True) as connection, database_errors("counting items"):
        counts = dict(zip(_COUNTS, queries.catalogue_counts(connection), strict=True))
        stand = [dict(zip(_STAND, row, strict=True)) for row in queries.embedding_stand(connection)]
        changed, scanned, oldest = queries.queue_stand(connection)
        now: datetime = queries.clock(connection)
    for one in stand:
        since = one.pop("oldest")
        one["oldest_waiting_s"] = 0.0 if since is None else round((now - since).total_seconds(), 3)
    waited_s = 0.0 if oldest is None else round((now - oldest).total_seconds(), 3)
    queue = {"changed": changed, "scanned": scanned, "oldest_s": waited_s}
    if json:
        _print_json({**counts, "queue": queue, "encoders": stand})
        return
    console = _console()
    console.print("   ".join(f"{name.replace('_', ' ')}: {count:,}" for name, count in counts.items()))
    console.print(f"queue: {changed:,} changed, {scanned:,} found by the scan, the oldest for {waited_s:.1f} s")
    table = Table("encoder", "kind", "state", "fitted on", "embedded", "waiting", "failed", "oldest waiting")
    for one in stand:
        numbers = (f"{one[name]:,}" for name in ("fitted_on", "embedded", "waiting", "failed"))
        table.add_row(one["encoder"][:16], one["kind"], one["state"], *numbers, f"{one['oldest_waiting_s']:.1f} s")
    console.print(table)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to search for.")],
    *,
    k: Annotated[int, typer.Option(min=1, max=MAX_K, help="Items at most.")] = 10,
    category: Annotated[list[str] | None, typer.Option(help="Only items of one of these; may be repeated.")] = None,
    json: Json = False,
) -> None:
    """Search all items by words, as POST /api/v1/items/search does: the API answers, so it must run."""
    asked: dict[str, Any] = {"query": query, "k": k}
    if category:
        asked["categories"] = category
    answer = _post("/api/v1/items/search", asked)
    if json:
        _print_json(answer)
        return
    table = Table("rank", "item_id", "title", "score")
    for rank, item in enumerate(answer["items"], 1):
        table.add_row(str(rank), str(item["item_id"]), str(item.get("title") or "")[:80], f"{item['score']:.3f}")
    _console().print(table)


def _forms(file: Path) -> list[dict[str, Any]]:
    lines = enumerate(lines_of(file), 1)
    return [_object(line, f"{file}, line {number}") for number, line in lines if line.strip()]


def _object(text: str, where: str) -> dict[str, Any]:
    """Return the JSON object that a text holds, read as the API reads it: no NaN, no half of a character.

    Raises
    ------
    ContractError
        If it holds something else, naming where it stands.
    """
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except UNREADABLE as error:
        raise ContractError(f"{where}: {text[:80]!r} is no JSON object: {error}") from error


def _event(form: dict[str, Any]) -> Event:
    if unknown := sorted(set(form) - _MEMBERS):
        near = nearest_member(unknown[0], _MEMBERS)
        way_out = f"perhaps {near!r} is meant" if near else f"known are {', '.join(sorted(_MEMBERS))}"
        raise ContractError(f"item {form.get('item_id')!r}: member {unknown[0]!r} is unknown; {way_out}")
    author = form.pop("author", None)
    if author is not None:
        attributes = form.get("attributes") or {}
        if not isinstance(attributes, dict):
            raise ContractError(f"item {form.get('item_id')!r}: attributes {attributes!r}; expected an object")
        form["attributes"] = {**attributes, "author": author}
    form.setdefault("item_id", uuid.uuid4().hex)
    return stamp_event({**form, "type": "item"}, now=datetime.now(UTC), event_id=str(uuid.uuid4()))


def _publish(events: list[Event]) -> None:
    from features.kafka import EventProducer, wait_all  # noqa: PLC0415  # the others do without Kafka

    producer = EventProducer(load_settings())
    try:
        wait_all([producer.send(event) for event in events], time.monotonic() + DELIVERY_S)
    finally:
        producer.close()


def _post(path: str, body: dict[str, Any]) -> Any:
    """Return the JSON answer of the API.

    Raises
    ------
    ContractError
        If it refuses the request.
    UnavailableError
        If it cannot be reached or cannot answer now.
    """
    from urllib.error import HTTPError, URLError  # noqa: PLC0415
    from urllib.request import Request, urlopen  # noqa: PLC0415

    address = str(load_settings().api_url).rstrip("/") + path
    request = Request(address, msgspec.json.encode(body), {"content-type": "application/json"})  # noqa: S310  # a setting
    try:
        with urlopen(request, timeout=SEARCH_S) as response:  # noqa: S310
            return msgspec.json.decode(response.read())
    except HTTPError as error:
        kind = UnavailableError if error.code >= 500 else ContractError
        raise kind(f"POST {address}: status {error.code}: {_told(error.read(_MOST_TOLD))}") from error
    except (URLError, OSError) as error:
        raise UnavailableError(f"POST {address}: {error}; MARQUEE_API_URL says where the API is") from error


class _Fault(msgspec.Struct):
    path: str
    message: str


class _Problem(msgspec.Struct):
    detail: str
    errors: list[_Fault] | None = None


def _told(answer: bytes) -> str:
    """Return what a refusal says: the words of a problem document, or, of somebody else's, all of it."""
    try:
        problem = msgspec.json.decode(answer, type=_Problem)
    except UNREADABLE:
        return answer.decode("utf-8", "replace")[:_MOST_QUOTED]
    return "; ".join([problem.detail, *(f"{fault.path} {fault.message}" for fault in problem.errors or ())])


def _whole(row: tuple[Any, ...] | None, item_id: str) -> dict[str, Any]:
    if row is None:
        raise ContractError(f"item {item_id!r} is not in the catalogue; `items list` shows what is")
    return dict(zip(_WHOLE, row, strict=True))


def _print_json(content: object) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(content)).decode())


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _console() -> Console:
    return plain_console(160)
