"""Someone whom no training has seen likes two films, and the next answer changes."""

import time
from typing import Any
from uuid import uuid4

from rich.console import Console

from ops.demo.api import Api, ApiError
from ops.demo.dataset import Dataset
from ops.demo.people import K, choose_likes, table, titles

CHANGES_WITHIN_S = 30.0
PAUSE_S = 0.01


def newcomer(dataset: Dataset, api: Api, console: Console) -> float:
    """Return the milliseconds from the click to an answer that knows of it, both answers printed."""
    user, names = f"newcomer-{uuid4().hex[:8]}", titles(dataset)
    before = api.recommend(user, K)
    console.print(table(before, names, f"{user}, before any click"))
    likes = choose_likes(dataset)
    clicked = time.monotonic()
    api.send([{"type": "interaction", "user_id": user, "item_id": item, "action": "like"} for item in likes])
    after = _changed_answer(api, user, before)
    took_ms = (time.monotonic() - clicked) * 1_000
    console.print(f"\n{user} likes: {', '.join(names.get(item, item) for item in likes)}", markup=False)
    console.print(table(after, names, f"{user}, after"))
    console.print(f"from the click to the changed answer: [bold]{took_ms:.0f} ms[/bold]")
    return took_ms


def _changed_answer(api: Api, user: str, before: dict[str, Any]) -> dict[str, Any]:
    """Return the first answer with other items than `before`.

    Raises
    ------
    ApiError
        When there is none in time.
    """
    had = [item["item_id"] for item in before["items"]]
    deadline = time.monotonic() + CHANGES_WITHIN_S
    while True:
        answer = api.recommend(user, K)
        if [item["item_id"] for item in answer["items"]] != had:
            return answer
        if time.monotonic() > deadline:
            raise ApiError(
                f"{CHANGES_WITHIN_S:.0f} s after {user}'s clicks the answer is still the same; see `make logs`"
            )
        time.sleep(PAUSE_S)
