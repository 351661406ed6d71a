"""What one candidate source alone is worth to users of a moment: a search that needs no ranker, and is cheap."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.contracts.profiles import Profiles
from training.als import confidence_matrix, fit_als
from training.bundle.sources import NEIGHBOUR_PLANS, AlsSource, NeighbourSource, Source, User
from training.config import TrainingConfig
from training.index import build_index, user_vectors
from training.metrics import ndcg
from training.moments import Moment
from training.neighbours import ease_table
from training.tuning.space import ALS, EASE, Knob

if TYPE_CHECKING:
    from features.items import ItemView

DEPTH: Final = 50
"""NDCG is taken as deep as a source usually proposes: a hit counts wherever the ranker can see it."""

Vector = Callable[[npt.NDArray[np.int32], npt.NDArray[np.float32]], npt.NDArray[np.float32] | None]

_NO_VIEW = cast("ItemView", None)  # the sources judged here read histories only


@dataclass(frozen=True, eq=False)
class SourceJudge:
    """Fits one source on what was known before a moment and judges it by what some of the moment's users liked next.

    `chosen` is int64, positions among the users of the moment; the latest `history_limit` events of a user count.
    """

    moment: Moment
    chosen: npt.NDArray[np.int64]
    history_limit: int

    def als(self, config: TrainingConfig) -> float:
        """Return NDCG@`DEPTH` of ALS by fold-in."""
        fold_in = fit_als(self._confidence, config.als, seed=config.seed)
        index, _ = build_index(fold_in.factors, user_vectors(fold_in, self._confidence, config.seed))
        return self._ndcg(AlsSource(index), config, fold_in.vector)

    def ease(self, config: TrainingConfig) -> float:
        """Return NDCG@`DEPTH` of EASE."""
        table = ease_table(self._confidence, config.ease_regularization)
        plan = NEIGHBOUR_PLANS["ease"]
        return self._ndcg(NeighbourSource("ease", table, plan.window, plan.decay), config, lambda *_: None)

    @cached_property
    def _confidence(self) -> sparse.csr_matrix:
        return confidence_matrix(self.moment.learned, self.history_limit)

    @cached_property
    def _labels(self) -> list[npt.NDArray[np.int32]]:
        return [self.moment.labels[position] for position in self.chosen.tolist()]

    def _ndcg(self, source: Source, config: TrainingConfig, vector: Vector) -> float:
        profiles = self.moment.history.profiles(self.moment.users[self.chosen], self.history_limit)
        hit = np.zeros((len(self.chosen), DEPTH), dtype=bool)
        for user, labels in enumerate(self._labels):
            offer = source.offer(_user(profiles, user, vector), _NO_VIEW, self._blocked(profiles, user, config), DEPTH)
            hit[user, : len(offer.items)] = np.isin(offer.items, labels)
        relevant = np.array([len(labels) for labels in self._labels], dtype=np.int64)
        return float(ndcg(hit, relevant, DEPTH).mean()) if len(hit) else 0.0

    def _blocked(self, profiles: Profiles, user: int, config: TrainingConfig) -> npt.NDArray[np.bool_]:
        blocked = np.zeros(len(self.moment.history.items), dtype=bool)
        if config.exclude_seen:
            blocked[profiles.seen(user)] = True
        return blocked


def _user(profiles: Profiles, user: int, vector: Vector) -> User:
    events = profiles.events(user)
    item, weight = profiles.item[events], profiles.weight[events]
    return User(item, weight, vector(item, weight))


@dataclass(frozen=True, slots=True)
class SourceStage:
    """A search over one source's settings."""

    name: str
    source: str
    knobs: tuple[Knob, ...]
    score: Callable[[SourceJudge, TrainingConfig], float]


STAGES: Final = (SourceStage("als", "als", ALS, SourceJudge.als), SourceStage("ease", "ease", EASE, SourceJudge.ease))
"""In the order in which they are searched."""
