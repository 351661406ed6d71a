"""An app over texts in memory: what exists and is embedded there, and what tests ask of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from features.contracts.times import to_us
from tests.support import serving_client
from tests.support.serving_client import Use
from tests.support.serving_parts import Bench, bench
from tests.support.serving_texts import T0, encoder_of, state_of, text_of, with_texts

KNOWN = {f"i{number}": text_of(number) for number in range(30)}
SEA = "whale ship harbour storm captain island sailor wave"


@contextmanager
def bench_of_texts(folder: Path) -> Iterator[Bench]:
    """Yield an app whose bundle knows the texts of its items."""
    encoder = encoder_of()
    with bench(folder, with_texts(encoder, KNOWN, to_us(T0))) as parts:
        parts.registry.publish()
        parts.encoders[encoder.digest] = encoder
        parts.store.states = [state_of(item_id, document) for item_id, document in KNOWN.items()]
        yield parts


def run(parts: Bench, use: Use) -> Any:
    """Return what `use` returns for a client of the app, once item states and texts have been read."""

    async def informed(client: httpx.AsyncClient) -> Any:
        await parts.parts.keeper.refresh_items()
        await parts.parts.keeper.refresh_texts()
        return await use(client)

    return serving_client.run(parts, informed)


def publish(parts: Bench, **items: int) -> None:
    """Let items of some texts exist and be embedded."""
    documents = {item_id: text_of(number) for item_id, number in items.items()}
    parts.texts.embed(encoder_of(), documents)
    parts.store.states = [*parts.store.states, *(state_of(*said) for said in documents.items())]


async def refresh(parts: Bench) -> None:
    """Do once what the keeper does all the time."""
    keeper = parts.parts.keeper
    await keeper.refresh_items()
    await keeper.refresh_texts()
    await keeper.grow()


async def search(client: httpx.AsyncClient, query: str = SEA, **body: Any) -> dict[str, Any]:
    """Return what a search answers."""
    response = await client.post("/api/v1/items/search", json={"query": query, **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    """Return the items of an answer."""
    return [item["item_id"] for item in answer["items"]]
