"""Logged lists: those shown before a cut teach by their clicks, those after it are re-ranked."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from features.contracts.columns import ACTION, ITEM, OCCURRED_AT, RANK, SCORE, USER
from features.contracts.errors import ContractError
from features.contracts.ids import IdMap
from features.contracts.times import told
from features.list_features import ShownRows
from training.backtest import Cut
from training.cells import cell, numbers, require, require_filled, require_ids, times, truths
from training.frames import Loaded, interactions_of, read_frame
from training.list_groups import LoggedLists
from training.list_ranking import RankedLists

LIST: Final = "list_id"
POSITION: Final = "position"
CLICKED: Final = "clicked"
_COLUMNS: Final = (LIST, USER, OCCURRED_AT, ITEM, POSITION, CLICKED)


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame of shown items (one row an item) and the file it came from."""

    frame: pd.DataFrame
    path: Path

    @property
    def has_clock(self) -> bool:
        """Return whether `occurred_at` holds times: else integers that only order."""
        return times(self.frame[OCCURRED_AT], self.path, OCCURRED_AT)[1]

    def clicks(self) -> Loaded:
        """Return the clicks as interactions, for a backtest without other ones."""
        clicked = self.frame[self.frame[CLICKED]]
        return interactions_of(clicked[[USER, ITEM, OCCURRED_AT]].assign(**{ACTION: "click"}), self.path)


def load_impressions(path: Path) -> Shown:
    """Return the lists of a parquet file, ordered by time, list and position; an empty `clicked` is no click.

    Raises
    ------
    ContractError
        If a column is missing or holds what it should not, or an item stands in a list twice.
    """
    frame = read_frame(path)
    require(frame, path, *_COLUMNS)
    if frame.empty:
        raise ContractError(f"{path}: no rows; at least one list is needed")
    require_ids(frame, path, LIST, USER, ITEM)
    require_filled(frame, path, OCCURRED_AT, POSITION)
    times(frame[OCCURRED_AT], path, OCCURRED_AT)
    frame[POSITION] = numbers(frame[POSITION], path, POSITION)
    frame[CLICKED] = truths(frame[CLICKED], path, CLICKED)
    _refuse_repeated(frame, path)
    return Shown(frame.sort_values([OCCURRED_AT, LIST, POSITION], kind="stable"), path)


def _refuse_repeated(frame: pd.DataFrame, path: Path) -> None:
    """Refuse an item that stands in a list twice: which of its places and clicks counts, nothing tells."""
    again = np.flatnonzero(frame.duplicated([LIST, ITEM]))
    if len(again):
        row = int(again[0])
        shown, item = cell(frame[LIST], row), cell(frame[ITEM], row)
        raise ContractError(
            f"{path}: list {shown!r} shows item {item!r} twice, again in row {row}, one of {len(again)} such rows; "
            f"keep one of the two: frame.drop_duplicates([{LIST!r}, {ITEM!r}])"
        )


def list_cut(shown: Shown, cut: Cut) -> int:
    """Return the time from which lists are re-ranked: the cutoff, or where the last share of lists begins.

    Raises
    ------
    ContractError
        If no list was shown from then on, or none before where a share is cut off.
    """
    if cut.cutoff is not None:
        at_us, has_clock = times(shown.frame[OCCURRED_AT], shown.path, OCCURRED_AT)
        newest = int(at_us.max())
        if newest < cut.cutoff:
            raise ContractError(
                f"{shown.path}: no list at or after the cutoff {told(cut.cutoff, has_clock=has_clock)}, the latest is "
                f"at {told(newest, has_clock=has_clock)}; choose a cut inside the data"
            )
        return cut.cutoff
    begins = shown.frame.drop_duplicates(LIST)[OCCURRED_AT].reset_index(drop=True)
    first = math.ceil((1 - (cut.holdout or 0)) * len(begins) - 1e-9)
    if not 0 < first < len(begins):
        raise ContractError(f"{shown.path}: holdout {cut.holdout} of {len(begins)} lists leaves one side empty")
    return int(times(begins, shown.path, OCCURRED_AT)[0][first])


def logged(shown: Shown) -> LoggedLists:
    """Return the lists as arrays."""
    frame = shown.frame
    at_us = times(frame[OCCURRED_AT], shown.path, OCCURRED_AT)[0]
    entry, lists = pd.factorize(frame[LIST])
    rows = np.argsort(entry, kind="stable")  # a list whose rows differ in time stays together, at its first one
    offsets = np.searchsorted(entry[rows], np.arange(len(lists) + 1))
    heads = rows[offsets[:-1]]
    users, items = (IdMap(sorted(set(frame[name].astype(str)))) for name in (USER, ITEM))
    return LoggedLists(
        users=users,
        items=items,
        user=users.index(frame[USER].astype(str).to_numpy()[heads]),
        at_us=at_us[heads],
        offsets=offsets,
        rows=ShownRows(
            entry[rows].astype(np.int64),
            items.index(frame[ITEM].astype(str).to_numpy()[rows]),
            frame[CLICKED].to_numpy(dtype=np.bool_)[rows],
        ),
        position=frame[POSITION].to_numpy(dtype=np.float32)[rows],
        frame_row=rows,
    )


def ranked_frame(shown: Shown, lists: LoggedLists, ranked: RankedLists) -> pd.DataFrame:
    """Return some lists in the order of their scores: list_id, user_id, item_id, rank, score; ties stay as shown."""
    orders = [np.argsort(-found, kind="stable") for found in ranked.scores]
    rows = [
        lists.frame_row[lists.of(entry)][order] for entry, order in zip(ranked.entries.tolist(), orders, strict=True)
    ]
    frame = shown.frame.iloc[np.concatenate(rows)][[LIST, USER, ITEM]].reset_index(drop=True)
    rank = np.concatenate([np.arange(1, len(order) + 1, dtype=np.int32) for order in orders])
    score = np.concatenate([found[order] for found, order in zip(ranked.scores, orders, strict=True)])
    return frame.assign(**{RANK: rank, SCORE: score})


def write_ranked(frame: pd.DataFrame, folder: Path) -> None:
    """Write ``ranked_lists.parquet``."""
    frame.to_parquet(folder / "ranked_lists.parquet", index=False)
