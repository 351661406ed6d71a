"""Logged lists: those shown before a cut teach by their clicks, those after it are re-ranked."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from features.contracts.columns import ACTION, ITEM, OCCURRED_AT, RANK, SCORE, USER
from features.contracts.errors import ContractError
from features.contracts.ids import MISSING
from features.contracts.profiles import Options, Profiles, UserHistory
from features.contracts.statistics import ItemStatistics
from training.backtest import Cut
from training.bundle.bundle import Bundle
from training.data import Interactions
from training.frames import Loaded, interactions_of, read_frame, require, times
from training.judging import in_items_of
from training.lists import groups

LIST: Final = "list_id"
POSITION: Final = "position"
CLICKED: Final = "clicked"


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame of shown items (one row an item) and the file it came from."""

    frame: pd.DataFrame
    path: Path

    def clicks(self) -> Loaded:
        """Return the clicks as interactions, for a backtest without other ones."""
        clicked = self.frame[self.frame[CLICKED]]
        return interactions_of(clicked[[USER, ITEM, OCCURRED_AT]].assign(**{ACTION: "click"}), self.path)


def load_impressions(path: Path) -> Shown:
    """Return the lists of a parquet file, ordered by time, list and position.

    Raises
    ------
    ContractError
        If a column is missing.
    """
    frame = read_frame(path)
    require(frame, path, LIST, USER, OCCURRED_AT, ITEM, POSITION, CLICKED)
    frame[CLICKED] = frame[CLICKED].astype(bool)
    return Shown(frame.sort_values([OCCURRED_AT, LIST, POSITION], kind="stable"), path)


def list_cut(shown: Shown, cut: Cut) -> int:
    """Return the time from which lists are re-ranked: the cutoff, or where the last share of lists begins."""
    if cut.cutoff is not None:
        return cut.cutoff
    begins = shown.frame.drop_duplicates(LIST)[OCCURRED_AT].reset_index(drop=True)
    first = math.ceil((1 - (cut.holdout or 0)) * len(begins) - 1e-9)
    if not 0 < first < len(begins):
        raise ContractError(f"{shown.path}: holdout {cut.holdout} of {len(begins)} lists leaves one side empty")
    return int(times(begins, shown.path, OCCURRED_AT)[0][first])


def rerank(shown: Shown, bundle: Bundle, interactions: Interactions, begin: int) -> pd.DataFrame:
    """Return the lists from a time on in the recommender's order: list_id, user_id, item_id, rank, score.

    A list is ordered from what was known before that time. Items without any event before it keep their shown order,
    after all others.

    Raises
    ------
    ContractError
        If no list begins at or after the time.
    """
    later = shown.frame[times(shown.frame[OCCURRED_AT], shown.path, OCCURRED_AT)[0] >= begin]
    if later.empty:
        raise ContractError(f"{shown.path}: no list at or after {begin}; choose an earlier cut")
    known = interactions.take(np.flatnonzero(interactions.at_us < begin)).on_backtest_clock()
    history = in_items_of(known, bundle.items)
    until_us = int(history.at_us[-1]) + history.bucket_us
    owners = np.unique(history.users.index_or_missing(later[USER].astype(str)))
    users = owners[owners != MISSING]
    batch = next(groups(history, users, np.full(len(users), until_us), bundle.manifest.history_limit))
    position = {user_id: row for row, user_id in enumerate(batch.profiles.user_ids)}
    stranger = bundle.encode([UserHistory("")])
    parts = []
    for _, entry in later.groupby(LIST, sort=False):
        row = position.get(str(entry[USER].iloc[0]))
        profile = stranger if row is None else batch.profiles.take(np.array([row]))
        parts.append(_ordered(entry, profile, bundle, batch.statistics, until_us))
    return pd.concat(parts, ignore_index=True)


def _ordered(
    entry: pd.DataFrame, profile: Profiles, bundle: Bundle, statistics: ItemStatistics, as_of_us: int
) -> pd.DataFrame:
    items = bundle.items.index_or_missing(entry[ITEM].astype(str))
    wanted = items[items != MISSING]
    options = Options(k=max(len(wanted), 1), candidates=wanted, include_seen=True)
    found = bundle.recommend(profile, statistics, as_of_us, options)
    score = dict(zip(found.items[0].tolist(), found.scores[0].tolist(), strict=True))
    worst = min((value for value in score.values() if not math.isnan(value)), default=0.0)
    scores = np.array([score.get(item, worst - 1) if item != MISSING else worst - 1 for item in items.tolist()])
    order = np.argsort(-scores, kind="stable")
    ranked = entry.iloc[order][[LIST, USER, ITEM]].reset_index(drop=True)
    return ranked.assign(**{RANK: np.arange(1, len(order) + 1, dtype=np.int32), SCORE: scores[order]})


def write_ranked(frame: pd.DataFrame, folder: Path) -> None:
    """Write ``ranked_lists.parquet``."""
    frame.to_parquet(folder / "ranked_lists.parquet", index=False)
