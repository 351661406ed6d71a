"""An opened bundle: the one object that a server swaps, and that training and batch use alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING, IdMap
from features.contracts.profiles import Options, Profiles, UserHistory
from features.contracts.ragged import offsets_of
from features.contracts.spec import FeatureSpec
from features.contracts.statistics import ItemStatistics
from features.contracts.weights import taken_back
from features.text.search import TextIndex
from training.bundle.arrivals import Arrivals, grown, with_first
from training.bundle.fresh import own_contributions
from training.bundle.laps import Lap, unhurried
from training.bundle.likeness import By, similar_items
from training.bundle.manifest import Manifest
from training.bundle.offered import SPEC
from training.bundle.parts import Parts
from training.bundle.recommender import Recommender
from training.bundle.result import Recommendations

_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Bundle:
    """One verified model version, opened; immutable and safe to share between threads.

    Attributes
    ----------
    arrived
        Of each item that came after it was made, what identifies all of these up to it; see `Arrivals.digests`.
    own
        The parts before any of these came; None where none did.
    """

    path: Path
    digest: str
    manifest: Manifest
    parts: Parts
    arrived: tuple[str, ...] = ()
    own: Parts | None = None

    @property
    def items(self) -> IdMap:
        """Return the ids of the bundle's items."""
        return self.parts.items

    @property
    def source_names(self) -> tuple[str, ...]:
        """Return the names that `Recommendations.sources` points into."""
        return self.manifest.source_names

    @cached_property
    def spec(self) -> FeatureSpec:
        """Return the ranker's columns."""
        return SPEC

    @cached_property
    def statistics(self) -> ItemStatistics:
        """Return the bundle's own item statistics, for when newer ones cannot be had."""
        return self.parts.state.at(self.parts.closed_at_us, has_clock=self.parts.has_clock)

    @cached_property
    def recommender(self) -> Recommender:
        """Return the pure recommender inside."""
        return self.parts.recommender()

    def encode(self, histories: Sequence[UserHistory]) -> Profiles:
        """Return histories in internal indices; items that the bundle lacks are left out.

        Each history is cut to the manifest's limit of latest events first.
        """
        limit = self.manifest.history_limit
        rows = [self._events(history, limit) for history in histories]
        seen = [self._known(history.seen_item_ids) for history in histories]
        return Profiles(
            user_ids=tuple(history.user_id for history in histories),
            offsets=offsets_of([len(item) for item, _, _ in rows]),
            item=_join([item for item, _, _ in rows], np.int32),
            weight=_join([weight for _, weight, _ in rows], np.float32),
            at_us=_join([at for _, _, at in rows], np.int64),
            seen_offsets=offsets_of([len(items) for items in seen]),
            seen_item=_join(seen, np.int32),
        )

    def recommend(
        self,
        profiles: Profiles,
        statistics: ItemStatistics,
        as_of_us: int | npt.NDArray[np.int64],
        options: Options,
        *,
        trace: bool = False,
        lap: Lap = unhurried,
    ) -> Recommendations:
        """Return ranked lists; see `Recommender.recommend`."""
        return self.recommender.recommend(profiles, statistics, as_of_us, options, trace=trace, lap=lap)

    def popular(self, profiles: Profiles, statistics: ItemStatistics, options: Options) -> Recommendations:
        """Return what is popular with everyone and may come back; see `Recommender.popular`."""
        return self.recommender.popular(profiles, statistics, options)

    def trending(self, profiles: Profiles, statistics: ItemStatistics, options: Options) -> Recommendations:
        """Return what trends with everyone and may come back; see `Recommender.trending`."""
        return self.recommender.trending(profiles, statistics, options)

    @property
    def excludes_seen(self) -> bool:
        """Return whether items that a user already had stay away where a request does not say."""
        return self.manifest.plan.exclude_seen

    def in_categories(self, names: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Return which items were in at least one of some categories when the bundle was made, bool (n_items,)."""
        return self.parts.categories.members(names)

    def allowed(self, profiles: Profiles, options: Options) -> npt.NDArray[np.bool_]:
        """Return which items may come back for the first user of a batch, bool (n_items,)."""
        return ~self.recommender.blocked(profiles, 0, options)

    def user_features(
        self, profiles: Profiles, statistics: ItemStatistics
    ) -> tuple[npt.NDArray[np.float32], dict[str, float]]:
        """Return `USER_FEATURES` of the first user of a batch, and the share of liking of each category, by name."""
        return self.recommender.user_features(profiles, 0, self.recommender.view(statistics))

    def contributions(self, rows: npt.NDArray[np.float32], *, unmet: bool) -> npt.NDArray[np.float64] | None:
        """Return what each feature adds to each row's score, and the base: float64 (n, n_features + 1).

        Parameters
        ----------
        rows
            float32 (n, n_features).
        unmet
            Whether they are ranked as items that nobody ever met, by a ranker of their own; None where there is none.
        """
        ranker = self.parts.fresh_ranker if unmet else self.parts.ranker
        if ranker is None:
            return None
        return own_contributions(ranker, rows, self.parts.plan.fresh) if unmet else ranker.contributions(rows)

    @property
    def encoder(self) -> str | None:
        """Return the digest of the encoder of its texts, None where it knows none."""
        return self.manifest.encoder

    @property
    def text_until_us(self) -> int:
        """Return until when texts are in, microseconds since 1970 UTC: what is embedded after it is newer."""
        return self.manifest.text_until_us

    @property
    def text_index(self) -> TextIndex | None:
        """Return the search index of its own items' texts."""
        return None if self.parts.content is None else self.parts.content.index

    def grown(self, arrivals: Arrivals) -> "Bundle":
        """Return the bundle with items that came after it was made, behind its own; see `arrivals.grown`."""
        arrived = (*self.arrived, *arrivals.digests(*self.arrived[-1:]))
        return replace(self, parts=grown(self.parts, arrivals), arrived=arrived, own=self.own or self.parts)

    def with_first(self, n_arrivals: int) -> "Bundle":
        """Return the bundle as it was when only the first so many items had come after it was made."""
        if self.own is None or n_arrivals == len(self.arrived):
            return self
        return replace(self, parts=with_first(self.parts, self.own, n_arrivals), arrived=self.arrived[:n_arrivals])

    def similar(
        self,
        item: int,
        k: int,
        eligible: npt.NDArray[np.bool_] | None = None,
        by: By = "behaviour",
        *,
        soon: bool = False,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return up to k items that are like one, best first, int32, and their scores, float32.

        Parameters
        ----------
        item
            Internal index.
        eligible
            bool (n_items,), which items may come back; None for all.
        by
            "behaviour": who likes it likes them. "content": their texts are near.
        soon
            Whether fewer will do where more would take long to find.
        """
        return similar_items(self.parts, item, k, eligible, by, soon=soon)

    def _events(
        self, history: UserHistory, limit: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        if not len(history.item_ids):
            return np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.int64)
        item = self.items.index_or_missing(history.item_ids[:limit])
        weight = self.parts.weights.weigh(history.actions[:limit], history.values[:limit])
        at_us = np.asarray(history.at_us[:limit], dtype=np.int64)
        known = item != MISSING
        return item[known], taken_back(item[known], weight[known]), at_us[known]

    def _known(self, item_ids: Sequence[str]) -> npt.NDArray[np.int32]:
        items: npt.NDArray[np.int32] = np.sort(self.items.index_or_missing(item_ids))
        first = items != MISSING
        first[1:] &= items[1:] != items[:-1]
        known: npt.NDArray[np.int32] = items[first]
        return known


def _join(parts: Sequence[npt.NDArray[_T]], dtype: type[_T]) -> npt.NDArray[_T]:
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])
