"""The interaction log as it could be read at past moments: histories of users, and events for item statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.contracts.columns import EVENT_ID, KNOWN_AT, LANDED_AT, OCCURRED_AT
from features.contracts.ids import MISSING, IdMap
from features.contracts.profiles import Profiles
from features.contracts.statistics import BUCKET_US
from features.contracts.weights import ActionWeights
from training.cells import times
from training.data import Interactions, Rows
from training.frames import interactions_of, read_frame
from training.judging import in_items_of

IN_FLIGHT_US: Final = 10_000_000
"""So near to a list's moment times alone do not tell whether an event was there to be read, or still landing."""


@dataclass(frozen=True, eq=False)
class KnownLog:
    """All interactions, by (min(occurred_at, known_at), event_id) as training orders them.

    Attributes
    ----------
    frame
        As `features.build.known_log` writes it, in that order.
    weights
        Of the bundle that is looked at.
    """

    frame: pd.DataFrame
    weights: ActionWeights
    file: Path

    @classmethod
    def read(cls, file: Path, weights: ActionWeights) -> "KnownLog":
        """Return the log of a file, which must hold at least one row."""
        frame = read_frame(file)
        at_us = np.minimum(times(frame[OCCURRED_AT], file, OCCURRED_AT)[0], times(frame[KNOWN_AT], file, KNOWN_AT)[0])
        order = np.lexsort((frame[EVENT_ID].to_numpy(dtype=str), at_us))
        return cls(frame.iloc[order].reset_index(drop=True), weights, file)

    @cached_property
    def all(self) -> Interactions:
        """Return all rows; row n of them is row n of the frame."""
        return interactions_of(self.frame, self.file, self.weights).interactions

    @cached_property
    def event_ids(self) -> npt.NDArray[Any]:
        """Return the id of each row's event."""
        return self.frame[EVENT_ID].to_numpy(dtype=object)

    @cached_property
    def landed_us(self) -> npt.NDArray[np.int64]:
        """Return when each row landed, microseconds since 1970 UTC."""
        return times(self.frame[LANDED_AT], self.file, LANDED_AT)[0]

    @cached_property
    def late(self) -> npt.NDArray[np.bool_]:
        """Return which rows landed when the bucket that they belong to was closed: history that came afterwards."""
        known = self.all.known_us
        return np.asarray(known - known % BUCKET_US + BUCKET_US <= self.landed_us)

    @cached_property
    def late_us(self) -> npt.NDArray[np.int64]:
        """Return when such rows landed, ascending."""
        return self.landed_us[self._by_landing]

    def came_late(self, edge_us: int, until_us: int) -> bool:
        """Return whether rows of buckets before an edge landed at or after it, and before a moment."""
        start, end = np.searchsorted(self.late_us, (edge_us, until_us))
        return bool((self.all.known_us[self._by_landing[start:end]] < edge_us).any())

    @cached_property
    def _by_landing(self) -> Rows:
        """Return the rows that landed late, in the order in which they landed."""
        rows = np.flatnonzero(self.late)
        return rows[np.argsort(self.landed_us[rows], kind="stable")]

    def without_late(self, since_us: int) -> Interactions:
        """Return the rows but those that landed late at or after a moment, with repeats as they were then."""
        came = self.late & (self.landed_us >= since_us)
        if not came.any():
            return self.all
        return interactions_of(self.frame[~came], self.file, self.weights).interactions

    def of_user(self, user_id: str) -> Rows:
        """Return the rows of a user, oldest first."""
        user = int(self.all.users.index_or_missing([user_id])[0])
        if user == MISSING:
            return np.empty(0, np.int64)
        order, offsets = self.all.by_user
        return order[offsets[user] : offsets[user + 1]]

    def readable(self, user_id: str, as_of_us: int, read: Sequence[str], limit: int) -> Rows:
        """Return the latest rows of a user that were there to be read at a moment, oldest first.

        Parameters
        ----------
        read
            The events that the server says it read: they decide for those that landed within `IN_FLIGHT_US` of the
            moment, and for no others.
        limit
            Rows at most.
        """
        rows = self.of_user(user_id)
        there_us = np.maximum(self.all.known_us[rows], self.landed_us[rows])
        in_flight = np.abs(there_us - as_of_us) <= IN_FLIGHT_US
        was_read = np.isin(self.event_ids[rows].astype(str), np.asarray(read, dtype=str))
        return rows[np.where(in_flight, was_read, there_us < as_of_us)][-limit:]

    def profiles(self, histories: Sequence[Rows], names: Sequence[str], items: IdMap) -> Profiles:
        """Return profiles of some histories, made as training makes them, under names of their own.

        Parameters
        ----------
        histories
            Rows of each, oldest first.
        items
            Those of the bundle: others are left out.
        """
        rows = np.concatenate([np.empty(0, np.int64), *histories])
        owner = np.repeat(np.arange(len(histories), dtype=np.int32), [len(entry) for entry in histories])
        told = self.all.take(rows)
        apart = Interactions(
            users=IdMap(list(names)),
            items=told.items,
            user=owner,
            item=told.item,
            weight=told.weight,
            at_us=told.at_us,  # ascending within each history, which is all that profiles ask for
            known_us=told.known_us,
        )
        longest = max((len(entry) for entry in histories), default=0)
        return in_items_of(apart, items).profiles(np.arange(len(histories)), longest)
