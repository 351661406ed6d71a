"""What the demo plays: items and interactions, from our own data set or from a folder of yours."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features.contracts.columns import ACTION, CATEGORIES, ITEM, OCCURRED_AT, TEXT, TITLE, USER, VALUE
from features.contracts.errors import MarqueeError

OWN = Path(__file__).parent / "data"
NO_GENRES = "(no genres listed)"
UNIX_SECONDS = (100_000_000, 100_000_000_000)  # integers of this range are taken for seconds: 1973 to 5138


class DataError(MarqueeError):
    """The demo cannot play the data it was given."""


@dataclass(frozen=True)
class Dataset:
    """Items and interactions in the words of the event contracts.

    Attributes
    ----------
    name
        Goes into every event id, so that two data sets never share one.
    items
        item_id, title, text (str), categories (list of str); may be empty.
    interactions
        user_id, item_id, action (str), value (float, NaN = none), occurred_at (int64, Unix seconds), oldest first.
    """

    name: str
    items: pd.DataFrame
    interactions: pd.DataFrame


def load(folder: Path | None) -> Dataset:
    """Return the data set in `folder`, our own where that is None.

    Raises
    ------
    DataError
        Where `folder` holds none of the forms that are understood.
    """
    if folder is None:
        return _own()
    if (folder / "ratings.csv").is_file():
        return _movielens(folder)
    file = folder / "interactions.parquet" if folder.is_dir() else folder
    if file.is_file() and file.suffix == ".parquet":
        return _parquet(file)
    raise DataError(
        f"{folder} holds neither ratings.csv (with movies.csv) nor interactions.parquet: "
        "expected a MovieLens folder or the columns of `python -m training backtest`"
    )


def _own() -> Dataset:
    """Return MovieTweetings."""
    ratings = pd.read_parquet(OWN / "ratings.parquet").rename(columns={"rating": VALUE, "timestamp": OCCURRED_AT})
    items = pd.read_parquet(OWN / "items.parquet")
    return _dataset("movietweetings", items, ratings.assign(**{ACTION: "rating"}))


def _movielens(folder: Path) -> Dataset:
    """Return a MovieLens folder: ratings.csv, and movies.csv where it is there."""
    names = {"userId": USER, "movieId": ITEM, "rating": VALUE, "timestamp": OCCURRED_AT}
    ratings = pd.read_csv(folder / "ratings.csv").rename(columns=names).assign(**{ACTION: "rating"})
    movies = folder / "movies.csv"
    items = pd.read_csv(movies).rename(columns={"movieId": ITEM}) if movies.is_file() else pd.DataFrame({ITEM: []})
    return _dataset(folder.resolve().name, items, ratings)


def _parquet(file: Path) -> Dataset:
    """Return interactions.parquet, with items.parquet beside it where it is there."""
    interactions = pd.read_parquet(file)
    if ACTION not in interactions:
        interactions[ACTION] = "rating" if VALUE in interactions else "view"
    if VALUE not in interactions:
        interactions[VALUE] = np.nan
    beside = file.with_name("items.parquet")
    items = pd.read_parquet(beside) if beside.is_file() else pd.DataFrame({ITEM: []})
    return _dataset(file.resolve().parent.name, items, interactions)


def _dataset(name: str, items: pd.DataFrame, interactions: pd.DataFrame) -> Dataset:
    """Return both frames in the form that `Dataset` promises.

    Raises
    ------
    DataError
        Where a column is missing or there are no rows.
    """
    missing = [column for column in (USER, ITEM, OCCURRED_AT) if column not in interactions]
    if missing or interactions.empty:
        raise DataError(f"{name}: interactions lack {', '.join(missing) or 'rows'}; there are {list(interactions)}")
    rows = pd.DataFrame(
        {
            USER: interactions[USER].astype(str),
            ITEM: interactions[ITEM].astype(str),
            ACTION: interactions[ACTION].astype(str),
            VALUE: interactions[VALUE].astype(float),
            OCCURRED_AT: _seconds(interactions[OCCURRED_AT]),
        }
    )
    return Dataset(name, _items(items), rows.sort_values(OCCURRED_AT, kind="stable", ignore_index=True))


def _seconds(times: pd.Series) -> pd.Series:
    """Return `times` as seconds since 1970; integers that only order become one second apart."""
    if pd.api.types.is_integer_dtype(times):
        if times.between(*UNIX_SECONDS).all():
            return times.astype("int64")
        return times.rank(method="dense").astype("int64")
    instants = pd.to_datetime(times, utc=True)
    return (instants - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)


def _items(items: pd.DataFrame) -> pd.DataFrame:
    """Return item_id, title, text and categories of `items`, each filled where it is missing."""
    ids = items[ITEM].astype(str)
    kinds = items.get(CATEGORIES, items.get("genres", pd.Series([""] * len(items), index=items.index)))
    return pd.DataFrame(
        {
            ITEM: ids,
            TITLE: items.get(TITLE, ids).astype(str),
            TEXT: items.get(TEXT, pd.Series([""] * len(items), index=items.index)).astype(str),
            CATEGORIES: [_categories(kind) for kind in kinds],
        }
    )


def _categories(kind: object) -> list[str]:
    """Return categories given as a list or as ``a|b``."""
    parts = kind.split("|") if isinstance(kind, str) else list(kind) if isinstance(kind, list | np.ndarray) else []
    return [str(part) for part in parts if part and part != NO_GENRES]
