"""The ranker: LightGBM on candidates made by the code that serves, and the proof that it is worth serving."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import lightgbm as lgb
import msgspec
import numpy as np
import numpy.typing as npt
import structlog

from features.contracts.profiles import Options
from training.bundle.offered import SPEC
from training.bundle.parts import Parts
from training.bundle.plan import BLEND, RANKER
from training.bundle.fusion import order_scores
from training.bundle.recommender import Recommender, view_of
from training.bundle.sources import PERSONAL, POPULAR_PLANS, SOURCES
from training.config import RankerConfig, TrainingConfig
from training.lists import groups
from training.metrics import ndcg
from training.moments import Moment
from training.retrieval import Training, at_moment, fit_retrieval

log = structlog.get_logger(__name__)

_VALIDATION_SHARE = 6
"""One of so many users of the latest moment is kept for early stopping and for choosing what serves."""


@dataclass(frozen=True, eq=False)
class Group:
    """Candidates of one user at one moment: feature rows, ranks per source, hits, and how many labels there are."""

    rows: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.float32]
    hit: npt.NDArray[np.bool_]
    relevant: int


@dataclass(frozen=True, eq=False)
class RankerFit:
    """A fitted ranker, and NDCG@10 on the validation slice of it and of everything it must beat."""

    booster: lgb.Booster
    validation: dict[str, float]
    n_rows: int
    n_groups: int

    @property
    def n_trees(self) -> int:
        """Return the number of trees that early stopping kept."""
        return int(self.booster.best_iteration or self.booster.num_trees())

    def choose(self, parts: Parts) -> Parts:
        """Return the parts with the ranker, or ordered by the source or blend that did better on validation."""
        best = max(self.validation, key=lambda name: (self.validation[name], name == RANKER))
        cold = max(POPULAR_PLANS, key=lambda name: self.validation[name])
        plan = msgspec.structs.replace(parts.plan, order_by=best, cold_source=cold)
        log.info("order chosen on validation", order_by=best, cold_source=cold, ndcg=self.validation)
        return replace(parts, plan=plan, ranker=self.booster if best == RANKER else None)


def fit_ranker(
    training: Training, moments: list[Moment], config: TrainingConfig, progress: Callable[[str], None] = lambda _: None
) -> RankerFit:
    """Return a ranker trained on the given moments (the latest first).

    For each moment retrieval is fitted on what was known before it, and candidates come from the code that serves;
    positives that retrieval missed are never injected.
    """
    rng = np.random.default_rng(config.seed)
    fit: list[Group] = []
    validation: list[Group] = []
    for number, moment in enumerate(moments):
        progress(f"moment {number + 1} of {len(moments)}: {len(moment.users)} users")
        recommender = fit_retrieval(at_moment(training, moment.history), config).recommender()
        chosen = _sample(len(moment.users), config.ranker.users_per_moment, rng)
        held = chosen[::_VALIDATION_SHARE] if number == 0 else chosen[:0]
        validation += candidate_groups(recommender, moment, held)
        fit += candidate_groups(recommender, moment, np.setdiff1d(chosen, held))
    progress("ranker")
    sampled = [_with_fewer_negatives(group, config.ranker.negatives_per_user, rng) for group in fit if group.hit.any()]
    booster = _train(sampled, [group for group in validation if group.hit.any()], config)
    return RankerFit(booster, _compare(booster, validation), sum(len(g.rows) for g in sampled), len(sampled))


def candidate_groups(recommender: Recommender, moment: Moment, chosen: npt.NDArray[np.int64]) -> list[Group]:
    """Return candidates with feature rows and hits of some of a moment's users (positions)."""
    found: list[Group] = []
    users, as_of_us = moment.users[chosen], moment.as_of_us[chosen]
    for batch in groups(moment.history, users, as_of_us, recommender.plan.history_limit):
        view = view_of(batch.statistics, recommender.categories)
        for user, position in enumerate(batch.position.tolist()):
            candidates, rows = recommender.candidates(batch.profiles, user, view, Options())
            labels = moment.labels[chosen[position]]
            found.append(Group(rows, candidates.ranks, np.isin(candidates.items, labels), len(labels)))
    return found


def _sample(n_users: int, limit: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return np.sort(rng.permutation(n_users)[:limit])


def _with_fewer_negatives(group: Group, limit: int, rng: np.random.Generator) -> Group:
    missed = np.flatnonzero(~group.hit)
    keep = np.sort(np.concatenate((np.flatnonzero(group.hit), rng.permutation(missed)[:limit])))
    return Group(group.rows[keep], group.ranks[keep], group.hit[keep], group.relevant)


def _dataset(groups_: list[Group], reference: lgb.Dataset | None = None) -> lgb.Dataset:
    return lgb.Dataset(
        np.concatenate([group.rows for group in groups_]),
        label=np.concatenate([group.hit for group in groups_]).astype(np.float32),
        group=[len(group.hit) for group in groups_],
        feature_name=list(SPEC.names),
        reference=reference,
    )


def _train(fit: list[Group], validation: list[Group], config: TrainingConfig) -> lgb.Booster:
    data = _dataset(fit)
    callbacks: list[Callable[..., Any]] = (
        [lgb.early_stopping(config.ranker.patience, verbose=False)] if validation else []
    )
    return lgb.train(
        _parameters(config.ranker, config),
        data,
        num_boost_round=config.ranker.trees,
        valid_sets=[_dataset(validation, data)] if validation else None,
        callbacks=callbacks,
    )


def _parameters(ranker: RankerConfig, config: TrainingConfig) -> dict[str, object]:
    return {
        "objective": ranker.objective,
        "metric": "ndcg",
        "eval_at": [10],
        "learning_rate": ranker.learning_rate,
        "num_leaves": ranker.leaves,
        "min_data_in_leaf": ranker.min_rows_in_leaf,
        "lambda_l2": ranker.l2,
        "lambdarank_truncation_level": ranker.truncation,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "feature_fraction": 0.5,
        "deterministic": True,
        "force_row_wise": True,
        "seed": config.seed,
        "num_threads": config.threads,
        "verbose": -1,
    }


def _compare(booster: lgb.Booster, validation: list[Group]) -> dict[str, float]:
    """Return NDCG@10 over validation users of the ranker, each source and the blend."""
    orders: dict[str, Callable[[Group], npt.NDArray[np.float64]]] = {
        RANKER: lambda group: np.asarray(booster.predict(group.rows, num_threads=1), dtype=np.float64)
    }
    for name in (*SOURCES, BLEND):
        orders[name] = lambda group, name=name: order_scores(group.ranks, name)  # type: ignore[misc]
    return {name: _mean_ndcg(validation, order) for name, order in orders.items()}


def _mean_ndcg(validation: list[Group], order: Callable[[Group], npt.NDArray[np.float64]]) -> float:
    values = []
    for group in validation:
        hit = group.hit[np.argsort(-order(group), kind="stable")][None, :10] if len(group.hit) else group.hit[None]
        values.append(float(ndcg(hit, np.array([group.relevant]), 10)[0]))
    return float(np.mean(values)) if values else 0.0
