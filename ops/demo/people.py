"""Whom the demo looks at, what they had, and what they are recommended."""

from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from features.contracts.columns import CATEGORIES, ITEM, TITLE, USER, VALUE
from ops.demo.api import Api
from ops.demo.dataset import Dataset

PEOPLE = 3
HISTORY = (8, 20)  # interactions: enough to have a taste, few enough to read
SHOWN = 5
K = 8
POPULAR = 100


def titles(dataset: Dataset) -> dict[str, str]:
    """Return item id -> title."""
    return dict(zip(dataset.items[ITEM], dataset.items[TITLE], strict=True))


def choose_people(dataset: Dataset) -> list[str]:
    """Return three users with a readable history, spread over the data; the same ones each time."""
    counts = dataset.interactions[USER].value_counts().sort_index()
    fitting = list(counts[counts.between(*HISTORY)].index) or list(counts.nlargest(PEOPLE).index)
    step = max(1, len(fitting) // PEOPLE)
    return fitting[step // 2 :: step][:PEOPLE]


def choose_likes(dataset: Dataset, count: int = 2) -> list[str]:
    """Return well-known items of the rarest category that enough well-known items share: a taste that shows."""
    popular = list(dataset.interactions[ITEM].value_counts().index[:POPULAR])
    known = dataset.items.set_index(ITEM)[CATEGORIES]
    shared = pd.Series({item: known.get(item, []) for item in popular}).explode().dropna()
    counts = shared.value_counts()
    counts = counts[counts >= count]
    if counts.empty:
        return popular[:count]
    return list(shared[shared == counts.index[-1]].index[:count])


def show_person(dataset: Dataset, user: str, api: Api, console: Console) -> None:
    """Print the newest interactions of `user` and the answer of the API."""
    names = titles(dataset)
    rows = dataset.interactions[dataset.interactions[USER] == user].tail(SHOWN).iloc[::-1]
    console.print(f"\n[bold]user {user}[/bold] lately had:")
    for item, value in zip(rows[ITEM], rows[VALUE], strict=True):
        console.print(f"  {names.get(item, item)}  ({value:g})", markup=False)
    console.print(table(api.recommend(user, K), names, f"recommended to {user}"))


def table(answer: dict[str, Any], names: dict[str, str], title: str) -> Table:
    """Return an answer of the API as a table."""
    shown = Table(
        "", "title", "source", "reason", title=f"{title} (version {answer['model_version']})", title_justify="left"
    )
    for item in answer["items"]:
        name = names.get(item["item_id"], item["item_id"])
        shown.add_row(str(item["rank"]), name, item["source"], item.get("reason") or "")
    return shown
