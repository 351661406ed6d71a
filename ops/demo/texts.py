"""A text that nobody has met is published: it is found, it is like its kind, and who likes its kind is told of it."""

import time
from typing import Any
from uuid import uuid4

from rich.console import Console

from features.contracts.columns import CATEGORIES, ITEM, TEXT, TITLE
from ops.demo.api import Api, wait_for
from ops.demo.dataset import Dataset
from ops.demo.people import choose_likes, table, titles

SHOWN = 5
PLACES = 10
SHARE = 0.1
"""Of the places of such a list: one for what nobody has acted on."""
LONG = 500
"""As far down a list as one can look: a text without a history often stands behind what is known to be liked."""
LIKES = 3


def new_text(dataset: Dataset, api: Api, console: Console) -> None:
    """Print the way of one new text, from the post to a list that holds it."""
    likes = choose_likes(dataset, LIKES)
    names = titles(dataset)
    reader, text = f"reader-{uuid4().hex[:8]}", sequel(dataset, likes[0])
    api.send([{"type": "interaction", "user_id": reader, "item_id": item, "action": "like"} for item in likes])
    wait_for(lambda: api.personal(reader, SHOWN), f"an answer that knows what {reader} likes")
    console.print(f"{reader} likes: {', '.join(names.get(item, item) for item in likes)}", markup=False)

    published = time.monotonic()
    api.publish([text])
    found = wait_for(lambda: _with(api.search(text[TITLE], SHOWN), text[ITEM]), "a search for the new text")
    took_ms = (time.monotonic() - published) * 1_000
    names[text[ITEM]] = text[TITLE]
    console.print(f"new: {text[TITLE]!r}, {', '.join(text[CATEGORIES]) or 'of no category'}", markup=False)
    console.print(f"from its publication to the first search that finds it: [bold]{took_ms:.0f} ms[/bold]")
    console.print(f"  found: {'; '.join(names.get(item['item_id'], '?') for item in found['items'])}", markup=False)
    near = api.similar(text[ITEM], SHOWN)
    console.print(f"  like it: {'; '.join(names.get(item['item_id'], '?') for item in near['items'])}", markup=False)

    answer = wait_for(
        lambda: _with(api.recommend(reader, PLACES, fresh_share=str(SHARE)), text[ITEM]),
        f"a list of {reader} with the new text",
    )
    took_ms = (time.monotonic() - published) * 1_000
    console.print(table(answer, names, f"recommended to {reader}, one place in ten for what nobody has met"))
    console.print(f"from its publication to a list that holds it: [bold]{took_ms:.0f} ms[/bold]")
    long = _with(api.recommend(reader, LONG), text[ITEM])
    place = None if long is None else next(e["rank"] for e in long["items"] if e["item_id"] == text[ITEM])
    console.print(f"without that, by what its text promises alone: {_said(place)}")


def sequel(dataset: Dataset, item: str) -> dict[str, Any]:
    """Return an item that is not in the catalogue: what comes after one that is."""
    of = dataset.items.set_index(ITEM).loc[item]
    title = of[TITLE].split(" (")[0]
    return {
        ITEM: f"sequel-{uuid4().hex[:8]}",
        TITLE: f"{title}: the Sequel",
        TEXT: of[TEXT],
        CATEGORIES: of[CATEGORIES],
    }


def _said(place: int | None) -> str:
    return f"not among the first {LONG}" if place is None else f"place {place}"


def _with(answer: dict[str, Any], item: str) -> dict[str, Any] | None:
    """Return an answer if it holds an item."""
    return answer if any(entry["item_id"] == item for entry in answer["items"]) else None
