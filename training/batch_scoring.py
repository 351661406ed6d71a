"""Lists of many users at one moment, some users at a time, on as many threads as there are cores to spare."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from threadpoolctl import threadpool_limits

from features.build.replay import replay_statistics
from features.contracts.batch import BatchRun
from features.contracts.columns import ITEM, RANK, SCORE, SOURCE, USER
from features.contracts.ids import MISSING, IdMap
from features.contracts.parts import GONE, part_of
from features.contracts.profiles import Options, Profiles
from features.contracts.ragged import entries_of, offsets_of
from features.contracts.statistics import ItemStatistics, bucket_edge
from features.contracts.times import to_us
from training.bundle.bundle import Bundle
from training.bundle.result import FILL
from training.data import Interactions
from training.frames import load_snapshot, read_frame
from training.judging import in_items_of

_AT_ONCE: Final = 100
"""Users of one call of the recommender: enough to keep a thread busy, few enough to share a part among threads."""

SCHEMA: Final = pa.schema(
    [
        (USER, pa.string()),
        (ITEM, pa.string()),
        (RANK, pa.int32()),
        (SCORE, pa.float32()),
        (SOURCE, pa.string()),
        ("recommendation_id", pa.string()),
    ]
)


@dataclass(frozen=True, eq=False)
class Population:
    """Who is scored, and what was known of them: users may be ids that no event has.

    Attributes
    ----------
    number
        The users' internal indices in `history`, int32 (n_users,).
    gone
        Items that they had before, which retention has taken out of `history`: those of the user of index u are
        `gone[1][gone[0][u] : gone[0][u + 1]]`, int32.
    """

    users: Sequence[str]
    number: npt.NDArray[np.int32]
    history: Interactions
    gone: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]

    @classmethod
    def of(cls, snapshot: Path, bundle: Bundle, users: Sequence[str] | None) -> Self:
        """Return the users, everyone with an event by default, with what a bundle can read of a snapshot."""
        loaded = load_snapshot(snapshot, bundle.parts.weights).interactions
        known = loaded.users.external(np.arange(len(loaded.users)))
        everyone = loaded.users if users is None else IdMap(list(dict.fromkeys([*known, *users])))
        wanted = known if users is None else users
        history = in_items_of(replace(loaded, users=everyone), bundle.items)
        gone = read_frame(snapshot / GONE)
        user, item = everyone.index_or_missing(gone[USER]), bundle.items.index_or_missing(gone[ITEM])
        rows = np.flatnonzero((user != MISSING) & (item != MISSING))
        rows = rows[np.argsort(user[rows], kind="stable")]
        offsets = offsets_of(np.bincount(user[rows], minlength=len(everyone)))
        return cls(wanted, everyone.index(wanted), history, (offsets, item[rows]))

    def profiles(self, places: npt.NDArray[np.intp], limit: int) -> Profiles:
        """Return the profiles of some users, by their places: the latest `limit` events of each, all that was seen."""
        users, (offsets, item) = self.number[places], self.gone
        owner, rows = entries_of(offsets, users)
        return self.history.profiles(users, limit).with_seen(owner, item[rows])

    def cut(self, run: BatchRun) -> list[npt.NDArray[np.intp]]:
        """Return the places of each part's users among all, in their order."""
        if not run.by_id:
            return np.split(np.arange(len(self.users)), range(run.part_users, len(self.users), run.part_users))
        parts = np.fromiter((part_of(user, run.parts) for user in self.users), np.intp, len(self.users))
        places = np.argsort(parts, kind="stable")
        return np.split(places, np.searchsorted(parts[places], range(1, run.parts)))


class Scorer(AbstractContextManager["Scorer"]):
    """Makes the lists of a population by a bundle, as of one moment; a context manager, for its threads."""

    def __init__(
        self,
        bundle: Bundle,
        population: Population,
        run: BatchRun,
        eligible: npt.NDArray[np.bool_],
        threads: int,
    ) -> None:
        self._bundle, self._population, self._run = bundle, population, run
        self._parts = population.cut(run)
        self._as_of_us = to_us(run.as_of)
        self._statistics = _statistics(population.history, self._as_of_us)
        self._options = Options(k=run.k, eligible=eligible, fresh_share=run.fresh_share, diversity=run.diversity)
        self._item_ids = pa.array(bundle.items.external(np.arange(len(bundle.items))), pa.string())
        self._source_names = pa.array([*bundle.source_names, FILL], pa.string())
        bundle.recommender.view(self._statistics)  # made once, before threads ask for it
        # One thread each for what computes within a call: there are enough calls at a time.
        self._limits = threadpool_limits(1)
        self._threads = ThreadPoolExecutor(threads, "score", initializer=partial(threadpool_limits, 1))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)
        self._limits.restore_original_limits()

    def part(self, number: int) -> pa.Table:
        """Return the rows of one part of the run: users in their order, items best first."""
        places = self._parts[number]
        pieces = [places[start : start + _AT_ONCE] for start in range(0, len(places), _AT_ONCE)]
        return pa.concat_tables([SCHEMA.empty_table(), *self._threads.map(self._rows, pieces)])

    def _rows(self, places: npt.NDArray[np.intp]) -> pa.Table:
        ids = [self._population.users[place] for place in places]
        recommender = self._bundle.recommender
        profiles = self._population.profiles(places, recommender.plan.history_limit)
        flat = recommender.recommend(profiles, self._statistics, self._as_of_us, self._options).flat(
            self._bundle.source_names
        )
        found = pa.array([self._run.recommendation_id(user) for user in ids], pa.string())
        columns = [
            pa.array(ids, pa.string()).take(pa.array(flat.row)),
            self._item_ids.take(pa.array(flat.item)),
            pa.array(flat.rank),
            pa.array(flat.score),
            pa.array(flat.source, pa.string()),
            found.take(pa.array(flat.row)),
        ]
        return pa.Table.from_arrays(columns, schema=SCHEMA)


def eligible_items(items: IdMap, not_shown: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which of a bundle's items may be shown, bool (n_items,)."""
    eligible = np.ones(len(items), dtype=bool)
    hidden = items.index_or_missing(not_shown)
    eligible[hidden[hidden != MISSING]] = False
    return eligible


def _statistics(history: Interactions, as_of_us: int) -> ItemStatistics:
    """Return the items' statistics at the bucket edge before the moment."""
    bucket_us, events = history.bucket_us, history.statistic_events()
    edge = np.array([bucket_edge(as_of_us, bucket_us)])
    replayed = replay_statistics(events, history.start(), edge, bucket_us=bucket_us, has_clock=history.has_clock)
    return next(iter(replayed))
