"""Someone whom no training has seen likes two films, and the next answer changes."""

import time
from typing import Any
from uuid import uuid4

from rich.console import Console

from ops.demo.api import Api, wait_for
from ops.demo.dataset import Dataset
from ops.demo.people import K, choose_likes, table, titles


def newcomer(dataset: Dataset, api: Api, console: Console) -> float:
    """Return the milliseconds from the click to an answer that knows of it, both answers printed."""
    user, names = f"newcomer-{uuid4().hex[:8]}", titles(dataset)
    before = api.recommend(user, K)
    console.print(table(before, names, f"{user}, before any click"))
    likes = choose_likes(dataset)
    clicked = time.monotonic()
    api.send([{"type": "interaction", "user_id": user, "item_id": item, "action": "like"} for item in likes])
    had = [item["item_id"] for item in before["items"]]
    after = wait_for(lambda: _other_than(had, api.recommend(user, K)), f"a change in the answer to {user}")
    took_ms = (time.monotonic() - clicked) * 1_000
    console.print(f"\n{user} likes: {', '.join(names.get(item, item) for item in likes)}", markup=False)
    console.print(table(after, names, f"{user}, after"))
    console.print(f"from the click to the changed answer: [bold]{took_ms:.0f} ms[/bold]")
    return took_ms


def _other_than(had: list[str], answer: dict[str, Any]) -> dict[str, Any] | None:
    """Return an answer if it holds other items than those."""
    return answer if [item["item_id"] for item in answer["items"]] != had else None
