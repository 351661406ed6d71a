"""Interactions of any size, made from real ones: MovieTweetings, tiled and perturbed, as files to import.

How: the users with at least `LEAST_EVENTS` ratings are copied in turn until there are enough rows. A copy keeps its
ratings and its order, but all its times move by up to `SHIFT_DAYS`; every third item or so is replaced by what
another user who rated that item rated next. The catalogue grows with the square root of the size: an item has
several versions, the first the most popular (1, 1/2, 1/3 ...), and copies of one taste share their versions. So the
skew of popularity, what goes together, and what comes after what stay as they are in the data. All times move so that
the newest is an hour old.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.record import ROOT
from features.contracts.columns import ITEM, USER

DATA: Final = ROOT / "ops" / "demo" / "data"
LEAST_EVENTS: Final = 20
SHIFT_DAYS: Final = 3.0
REPLACED: Final = 0.3
TASTES: Final = 16
"""Groups of copies that share the versions of items; about as many versions as users could tell apart."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Real:
    """Ratings by user, oldest first within one; items as positions in `item_ids`."""

    user: Ints
    item: Ints
    rating: npt.NDArray[np.float64]
    at_s: Ints
    item_ids: npt.NDArray[Any]


def write_scaled(interactions: Path, items: Path, rows: int, seed: int = 0) -> dict[str, int]:
    """Write both files as ``python -m features import`` takes them, and return what they hold."""
    rng = np.random.default_rng(seed)
    real = read_real()
    copies = -(-rows * 11 // (10 * len(real.user)))  # a tenth more: what becomes a repeated pair is dropped
    versions = max(round((rows / len(real.user)) ** 0.5), 1)
    made = pd.concat([_copy(real, number, versions, rng) for number in range(copies)], ignore_index=True)
    made = made.drop_duplicates([USER, ITEM]).head(rows)
    made = made.sort_values("at_s", kind="stable")
    pq.write_table(_interactions(made, time.time() - 3_600), interactions)
    pq.write_table(_items(real.item_ids, versions), items)
    return {"interactions": len(made), "users": made[USER].nunique(), "items": made[ITEM].nunique()}


def read_real() -> Real:
    """Return the ratings of the demo's data by users with enough of them."""
    ratings = pd.read_parquet(DATA / "ratings.parquet").sort_values(["user_id", "timestamp"], kind="stable")
    ratings = ratings[ratings.groupby("user_id").user_id.transform("size") >= LEAST_EVENTS]
    item, item_ids = pd.factorize(ratings.item_id)
    return Real(
        pd.factorize(ratings.user_id)[0],
        item,
        ratings.rating.to_numpy(np.float64),
        ratings.timestamp.to_numpy(np.int64),
        np.asarray(item_ids),
    )


def _copy(real: Real, number: int, versions: int, rng: np.random.Generator) -> pd.DataFrame:
    n_users = int(real.user.max()) + 1
    item = real.item if number == 0 else _perturbed(real, rng)
    taste = rng.integers(TASTES, size=n_users)[real.user]
    shift_s = (rng.uniform(-SHIFT_DAYS, SHIFT_DAYS, n_users) * 86_400).astype(np.int64)[real.user]
    return pd.DataFrame(
        {
            USER: number * n_users + real.user,
            ITEM: item * versions + _version(item, taste, versions),
            "value": real.rating,
            "at_s": real.at_s + shift_s,
        }
    )


def _perturbed(real: Real, rng: np.random.Generator) -> Ints:
    """Return each row's item, some replaced by what another rater of that item rated next."""
    by_item = np.argsort(real.item, kind="stable")
    count = np.bincount(real.item)
    start = np.cumsum(count) - count
    another = by_item[start[real.item] + (rng.random(len(real.item)) * count[real.item]).astype(np.int64)]
    following = np.minimum(another + 1, len(real.item) - 1)
    same = real.user[following] == real.user[another]
    replaced = same & (rng.random(len(real.item)) < REPLACED)
    return np.where(replaced, real.item[following], real.item)


def _version(item: Ints, taste: Ints, versions: int) -> Ints:
    """Return the version of an item that users of a taste know: version v has a share of 1 / (v + 1)."""
    share = np.cumsum(1 / np.arange(1, versions + 1))
    mixed = (item * 2_654_435_761 + taste * 618_034) % 1_000_003  # the tastes spread evenly, by the golden ratio
    return np.searchsorted(share / share[-1], mixed / 1_000_003, side="right").astype(np.int64)


def _interactions(made: pd.DataFrame, until_s: float) -> pa.Table:
    at_s = made.at_s + (int(until_s) - int(made.at_s.max()))
    return pa.table(
        {
            "user_id": [f"user-{number}" for number in made[USER].tolist()],
            "item_id": [f"film-{number}" for number in made[ITEM].tolist()],
            "action": ["rating"] * len(made),
            "value": made["value"].to_numpy(),
            "occurred_at": pa.array(pd.to_datetime(at_s, unit="s", utc=True)),
        }
    )


def _items(item_ids: npt.NDArray[Any], versions: int) -> pa.Table:
    known = pd.read_parquet(DATA / "items.parquet").set_index("item_id").reindex(item_ids)
    genres = [entry.split("|") if isinstance(entry, str) and entry else [] for entry in known.genres]
    return pa.table(
        {
            "item_id": [f"film-{number}" for number in range(len(item_ids) * versions)],
            "title": [title for title in known.title for _ in range(versions)],
            "categories": [entry for entry in genres for _ in range(versions)],
        }
    )
