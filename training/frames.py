"""Interaction and item files as arrays: columns checked once, when they enter."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api import types

from features.build.earlier import COUNTED_FILE, EARLIER_FILE, read_earlier
from features.contracts.columns import (
    ACTION,
    CATEGORIES,
    DELETED,
    EVENT_ID,
    ITEM,
    KNOWN_AT,
    OCCURRED_AT,
    PUBLISHED_AT,
    REPEAT,
    TITLE,
    USER,
    VALUE,
)
from features.contracts.errors import ContractError
from features.contracts.found_weights import USUAL, DataShape, weights_for
from features.contracts.ids import MISSING, IdMap
from features.contracts.parts import FOLDER, whole
from features.contracts.weights import ActionWeights
from features.contracts.weights_file import SaidWeights
from features.items import Categories
from training.cells import (
    numbers,
    require,
    require_categories,
    require_distinct,
    require_filled,
    require_ids,
    times,
    truths,
)
from training.data import Interactions, Rows, flat_lists

_REQUIRED: Final = (USER, ITEM, OCCURRED_AT)
_NAMED: Final = 5
"""Unknown actions that an error names, at most."""
_MAGIC: Final = b"PAR1"
"""How every parquet file begins."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """Interactions of a file, with what the file says of them.

    Attributes
    ----------
    interactions
        The rows in order, weighed.
    user_values, item_values
        The ids as the file writes them, by internal index.
    weights, shape
        The weights, and the shape of the rows that they were found from.
    action_names
        The actions that occur.
    action
        int64 (n,), the place of each row's action among them.
    value
        float64 (n,), NaN where the row carried none.
    """

    interactions: Interactions
    user_values: npt.NDArray[Any]
    item_values: npt.NDArray[Any]
    weights: ActionWeights
    shape: DataShape
    action_names: npt.NDArray[np.object_]
    action: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]

    def take(self, rows: Rows) -> "Loaded":
        """Return some of the rows, with the same ids and weights."""
        return replace(
            self, interactions=self.interactions.take(rows), action=self.action[rows], value=self.value[rows]
        )

    def weighed_by(self, rows: Rows, said: SaidWeights | None = None) -> "Loaded":
        """Return all rows, weighed by what some of them lead to and what a file has said: by those before a cut."""
        shape = shape_of(self.action_names[self.action[rows]].tolist(), self.value[rows])
        weights = weights_for(shape, said)
        actions = self.action_names[self.action].tolist()
        weighed = replace(
            self.interactions,
            weight=weights.weigh(actions, self.value),
            strong=weights.strong(actions),
            rating=weights.ratings(actions, self.value),
        )
        return replace(self, interactions=weighed, weights=weights, shape=shape)

    def require_weights(self, path: Path) -> "Loaded":
        """Return the same rows, if any of the actions that the weights were found from is known to them.

        Raises
        ------
        ContractError
            If none is, naming some: nothing could be learned of what weighs nothing.
        """
        if self.shape.events.keys() & self.weights.actions.keys():
            return self
        names = sorted(self.shape.events, key=lambda name: (-self.shape.events[name], name))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise ContractError(
            f"{path}: column {ACTION} holds only {', '.join(map(repr, names[:_NAMED]))}{more}, which weigh nothing, so "
            f"that nothing shows what is liked; known are {', '.join(sorted(self.weights.actions))}. Name actions as "
            "these, or say what yours weigh in a file: --weights, MARQUEE_ACTION_WEIGHTS"
        )


def read_frame(path: Path) -> pd.DataFrame:
    """Return a parquet file, or all parts of a snapshot's folder, as a frame.

    Raises
    ------
    ContractError
        If the file or a part is missing or no parquet.
    """
    files = whole(path) if path.is_dir() else [path]
    try:
        frame: pd.DataFrame = pa.concat_tables(pq.read_table(file) for file in files).to_pandas()
    except FileNotFoundError:
        raise ContractError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise ContractError(f"{path}: cannot be read as parquet: {_instead(path) or error}") from error
    return frame


def _instead(path: Path) -> str | None:
    """Return how a file of another kind becomes parquet; None for one that begins as parquet does."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            return None
    return f"it is none; of CSV pandas makes it: pd.read_csv('{path}').to_parquet('{path.with_suffix('.parquet')}')"


def read_items(path: Path) -> pd.DataFrame:
    """Return the items of a parquet file, a row an item, with `item_id` and whatever else it holds.

    `deleted`, where it is there, is bool.

    Raises
    ------
    ContractError
        Naming the file, the column and what is wrong with it.
    """
    frame = read_frame(path)
    require(frame, path, ITEM)
    require_ids(frame, path, ITEM)
    require_distinct(frame, path, ITEM)
    if CATEGORIES in frame:
        require_categories(frame[CATEGORIES], path, CATEGORIES)
    if DELETED in frame:
        frame[DELETED] = truths(frame[DELETED], path, DELETED)
    return frame


def load_interactions(path: Path, weights: ActionWeights | None = None, said: SaidWeights | None = None) -> Loaded:
    """Return the interactions of a parquet file, or of a snapshot in parts, ordered by time.

    Columns: `user_id`, `item_id`, `occurred_at`; optional `action`, `value`, `known_at`, `event_id`, `repeat`. Without
    `action` it is `rating` where there are values, else `view`. Without `repeat` (bool: the user did the same action on
    the item before, be it in rows that the file lacks) the file's rows tell it. Ties in time keep the file's order, or
    that of `event_id`. Without `weights` they are found from the data's shape and what a file of weights has said.

    Raises
    ------
    ContractError
        Naming the file, the column and what is wrong with it.
    """
    return interactions_of(read_frame(path), path, weights, said)


def load_snapshot(folder: Path, weights: ActionWeights) -> Loaded:
    """Return the interactions of a snapshot, and what items had met beside them if that was counted by these weights.

    Raises
    ------
    ContractError
        If a part is missing or no parquet.
    """
    loaded = load_interactions(folder / FOLDER, weights)
    earlier, counted = (
        rows if rows is not None and ActionWeights.from_json(rows.weights) == weights else None
        for rows in (read_earlier(folder / EARLIER_FILE), read_earlier(folder / COUNTED_FILE))
    )
    return replace(loaded, interactions=replace(loaded.interactions, earlier=earlier, counted=counted))


def interactions_of(
    frame: pd.DataFrame, path: Path, weights: ActionWeights | None = None, said: SaidWeights | None = None
) -> Loaded:
    """Return the interactions of a frame that came from `path`; see `load_interactions`."""
    _check_columns(frame, path)
    occurred, has_clock = times(frame[OCCURRED_AT], path, OCCURRED_AT)
    known = _known(frame, path, has_clock=has_clock) if KNOWN_AT in frame else occurred
    at_us = np.minimum(occurred, known)
    ties = frame[EVENT_ID].to_numpy(dtype=str) if EVENT_ID in frame else np.zeros(len(frame), dtype=np.int8)
    order = np.lexsort((ties, at_us))
    user, user_values = pd.factorize(frame[USER].iloc[order])
    item, item_values = pd.factorize(frame[ITEM].iloc[order])
    values = _values(frame, path)[order]
    actions = _actions(frame.iloc[order])
    if REPEAT in frame:
        repeat = frame[REPEAT].to_numpy(dtype=np.bool_)[order]
    else:
        repeat = repeats(user, item, actions, (ties[order], known[order]))
    shape = shape_of(actions, values)
    weights = weights or weights_for(shape, said)
    interactions = Interactions(
        users=IdMap([str(value) for value in user_values]),
        items=IdMap([str(value) for value in item_values]),
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        weight=weights.weigh(actions, values),
        at_us=at_us[order],
        known_us=known[order],
        has_clock=has_clock,
        strong=weights.strong(actions),
        rating=weights.ratings(actions, values),
        repeat=repeat,
    )
    action, names = pd.factorize(np.asarray(actions, dtype=object))
    return Loaded(interactions, np.asarray(user_values), np.asarray(item_values), weights, shape, names, action, values)


def repeats(
    user: npt.NDArray[np.integer],
    item: npt.NDArray[np.integer],
    actions: Sequence[str],
    order_by: tuple[npt.NDArray[Any], ...],
) -> npt.NDArray[np.bool_]:
    """Return which events' user did the same action on the same item before, bool (n,).

    Parameters
    ----------
    user, item
        Integers (n,) from 0 on.
    actions
        An action for each event.
    order_by
        Keys (n,) of the order, the most important last; ties are in the order of the rows.
    """
    action = pd.factorize(np.asarray(actions, dtype=object))[0]
    what = item * (action.max(initial=0) + 1) + action
    key = user * (what.max(initial=0) + 1) + what
    # Only what was done more than once has an order to ask for: most data hold little of it.
    several = np.flatnonzero(pd.Series(key).duplicated(keep=False))
    several = several[np.lexsort([column[several] for column in order_by])]
    found = np.zeros(len(key), dtype=np.bool_)
    found[several] = pd.Series(key[several]).duplicated()
    return found


def load_categories(path: Path | None, items: IdMap) -> Categories:
    """Return the categories of items from a parquet file (`item_id`, `categories`: list or ``|``-separated).

    Items that the file lacks have none.
    """
    lists: list[list[str]] = [[] for _ in range(len(items))]
    if path is not None:
        frame = read_items(path)
        if CATEGORIES in frame:
            rows = items.index_or_missing(frame[ITEM].astype(str))
            for row, entry in zip(rows.tolist(), frame[CATEGORIES], strict=True):
                if row != MISSING:
                    lists[row] = category_list(entry)
    names = sorted({name for entry in lists for name in entry})
    position = {name: index for index, name in enumerate(names)}
    offsets, index = flat_lists([np.array([position[name] for name in entry], dtype=np.int32) for entry in lists])
    return Categories(tuple(names), offsets, index)


def catalogue_ids(path: Path | None) -> list[str]:
    """Return the ids of all items of a parquet file that are not `deleted`, the oldest first by `published_at`.

    Both columns may be missing.
    """
    if path is None:
        return []
    frame = read_items(path)
    if DELETED in frame:
        frame = frame[~frame[DELETED]]
    if PUBLISHED_AT in frame:
        frame = frame.sort_values(PUBLISHED_AT, kind="stable", na_position="first")
    return list(dict.fromkeys(frame[ITEM].astype(str)))


def load_titles(path: Path | None) -> dict[str, str]:
    """Return item titles by external id, from a parquet file with `item_id` and `title`; a blank one is none."""
    if path is None:
        return {}
    frame = read_items(path)
    if TITLE not in frame:
        return {}
    titled = frame[frame[TITLE].notna()]
    titles = zip(titled[ITEM].astype(str), titled[TITLE].astype(str), strict=True)
    return {item: title for item, title in titles if title.strip()}


def category_list(entry: object) -> list[str]:
    """Return the distinct values of a cell: of a list, of text separated by ``|``, or one; none where it is empty."""
    if entry is None or isinstance(entry, float):
        return []
    parts = entry.split("|") if isinstance(entry, str) else [str(part) for part in np.asarray(entry).ravel().tolist()]
    return list(dict.fromkeys(part for part in parts if part))


def _check_columns(frame: pd.DataFrame, path: Path) -> None:
    require(frame, path, *_REQUIRED)
    if frame.empty:
        raise ContractError(f"{path}: no rows; at least one interaction is needed")
    require_ids(frame, path, USER, ITEM)
    require_filled(frame, path, OCCURRED_AT, *(name for name in (KNOWN_AT, ACTION) if name in frame))
    if REPEAT in frame and not types.is_bool_dtype(frame[REPEAT]):
        raise ContractError(f"{path}: column {REPEAT} is {frame[REPEAT].dtype}; expected true or false in each row")


def _known(frame: pd.DataFrame, path: Path, *, has_clock: bool) -> npt.NDArray[np.int64]:
    """Return when each row became known, in the times of `occurred_at`."""
    known, by_clock = times(frame[KNOWN_AT], path, KNOWN_AT)
    if by_clock != has_clock:
        kinds = {True: "times", False: "integers that only order"}
        raise ContractError(
            f"{path}: column {OCCURRED_AT} holds {kinds[has_clock]} and column {KNOWN_AT} {kinds[by_clock]}: neither "
            "says what of the other was before it; write both as times, or both as integers of one count"
        )
    return known


def _values(frame: pd.DataFrame, path: Path) -> npt.NDArray[np.float64]:
    """Return the value of each row, NaN where it has none."""
    values = numbers(frame[VALUE], path, VALUE) if VALUE in frame else np.full(len(frame), np.nan)
    if VALUE in frame and ACTION not in frame and np.isnan(values).all():
        raise ContractError(
            f"{path}: column {VALUE} is empty in all {len(frame)} rows, so that no rating shows what is liked; without "
            f"the columns {VALUE} and {ACTION} rows are views"
        )
    return values


def _actions(frame: pd.DataFrame) -> list[str]:
    if ACTION in frame:
        return frame[ACTION].astype(str).tolist()
    return ["rating" if VALUE in frame else "view"] * len(frame)


def shape_of(actions: Sequence[str], values: npt.NDArray[np.float64]) -> DataShape:
    """Return how often each action occurs, and the largest usual rating."""
    is_rating = np.fromiter((action == "rating" for action in actions), dtype=bool, count=len(actions))
    rated = values[is_rating & ~np.isnan(values)]
    usual = np.quantile(rated, USUAL, method="inverted_cdf") if len(rated) else 0.0
    return DataShape(dict(Counter(actions)), max(float(usual), 0.0))
