"""Someone whom no training has seen likes two films, and the next answer changes."""

import time
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
    after = wait_for(lambda: api.personal(user, K), f"an answer that knows what {user} likes")
    took_ms = (time.monotonic() - clicked) * 1_000
    console.print(f"\n{user} likes: {', '.join(names.get(item, item) for item in likes)}", markup=False)
    console.print(table(after, names, f"{user}, after"))
    if [item["item_id"] for item in after["items"]] == [item["item_id"] for item in before["items"]]:
        console.print(
            "the same films: one source led the ranker in this training, and serves in its place (see MLflow)"
        )
    console.print(f"from the click to an answer that knows of it: [bold]{took_ms:.0f} ms[/bold]")
    return took_ms
