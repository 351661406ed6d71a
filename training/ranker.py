"""The ranker: LightGBM on candidates made by the code that serves, and the proof that it is worth serving."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from typing import Final

import lightgbm as lgb
import msgspec
import numpy as np
import numpy.typing as npt
import structlog

from features.contracts.spec import FeatureSpec
from training.bundle.fusion import order_scores
from training.bundle.offered import SPEC
from training.bundle.parts import Parts
from training.bundle.plan import BLEND, RANKER
from training.bundle.ranker import Ranker
from training.bundle.sources import POPULAR_PLANS, SOURCES
from training.config import TrainingConfig
from training.groups import Group, with_fewer_negatives

log = structlog.get_logger(__name__)

Floats = npt.NDArray[np.float64]

BINARY: Final = "binary"
_AND: Final = " + "
_FURTHER_TREES: Final = 1.1
"""Trees of the last fit over those that early stopping found: it learns from more."""
_FEWEST_TREES: Final = 10


@dataclass(frozen=True, eq=False)
class RankerFit:
    """A fitted ranker, and NDCG@10 on the validation slice of it and of everything it must beat.

    Attributes
    ----------
    ranker
        Fitted on all groups.
    validation
        NDCG@10 on the later slice, by method: "ranker", what it was made of ("lambdarank", "lambdarank + binary" ...),
        each source, and "blend"; all fitted on earlier slices only.
    chosen
        Which of the methods the ranker is.
    budgets
        Candidates that each source may propose.
    n_rows, n_groups
        What the ranker learned from.
    """

    ranker: Ranker
    validation: dict[str, float]
    chosen: str
    budgets: Mapping[str, int]
    n_rows: int
    n_groups: int

    def choose(self, parts: Parts) -> Parts:
        """Return the parts with the ranker, or ordered by the source or blend that did better on validation."""
        orders = (RANKER, BLEND, *(name for name in SOURCES if self.budgets[name]))
        best = max(orders, key=lambda name: (self.validation[name], name == RANKER))
        cold = max((name for name in POPULAR_PLANS if self.budgets[name]), key=lambda name: self.validation[name])
        plan = msgspec.structs.replace(parts.plan, budgets=dict(self.budgets), order_by=best, cold_source=cold)
        log.info("order chosen on validation", order_by=best, cold_source=cold, ndcg=self.validation)
        return replace(parts, plan=plan, ranker=self.ranker if best == RANKER else None)


def fit_ranker(
    fit: Sequence[Group],
    validation: Sequence[Group],
    config: TrainingConfig,
    budgets: Mapping[str, int],
    spec: FeatureSpec = SPEC,
) -> RankerFit:
    """Return the objective, or blend of objectives, that did best on the validation slice, fitted on everything.

    Parameters
    ----------
    fit, validation
        Groups of earlier moments, and of a later one: by it trees are counted and objectives chosen.
    budgets
        Candidates of each source, as the groups were made.
    spec
        Names of the groups' columns.
    """
    settings, rng = config.ranker, np.random.default_rng(config.seed)
    sampled, later = _bounded(fit, settings.rows, rng), _bounded(validation, settings.rows, rng)
    data = _dataset(sampled, spec)
    stop = _dataset(later, spec, reference=data)
    models = {name: _train(name, data, stop, config, settings.trees) for name in settings.objectives}
    scores = {name: _all_scores(model, validation) for name, model in models.items()}
    spread = {name: max(float(np.concatenate(found).std()), 1e-9) for name, found in scores.items()}
    blends = _blends(settings.objectives)
    found = {}
    for blend in blends:
        added = _added([scores[name] for name in blend], [spread[name] for name in blend])
        found[_AND.join(blend)] = _mean_ndcg(validation, added)
    best = max(blends, key=lambda blend: found[_AND.join(blend)])
    everything = _dataset([*later, *sampled], spec)
    again = [_train(name, everything, None, config, _last_trees(models[name])) for name in best]
    for order in (*SOURCES, BLEND):
        found[order] = _mean_ndcg(validation, [order_scores(group.ranks, order) for group in validation])
    found[RANKER] = found[_AND.join(best)]
    ranker = Ranker(tuple(again), tuple(1 / spread[name] for name in best))
    n_rows = sum(len(group.rows) for group in chain(sampled, later))
    return RankerFit(ranker, found, _AND.join(best), budgets, n_rows, len(sampled) + len(later))


def _bounded(groups: Sequence[Group], rows: int, rng: np.random.Generator) -> list[Group]:
    """Return the groups that have something liked, with as many of their other candidates as fit into half the rows."""
    useful = sum(bool(group.hit.any()) for group in groups)
    return with_fewer_negatives(groups, max(rows // 2 // max(useful, 1), 20), rng)


def _dataset(groups: Sequence[Group], spec: FeatureSpec, reference: lgb.Dataset | None = None) -> lgb.Dataset:
    gain = np.concatenate([np.empty(0, np.float32), *(group.gain for group in groups)])
    return lgb.Dataset(
        np.concatenate([np.empty((0, len(spec)), np.float32), *(group.rows for group in groups)]),
        label=levels(gain),
        group=[len(group.gain) for group in groups],
        feature_name=list(spec.names),
        reference=reference,
        params={"feature_pre_filter": False, "verbose": -1},
    )


def levels(gain: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return relevance grades: 0 for no liking, 1 for the least, one more for each doubling.

    >>> levels(np.array([0, 0.25, 0.3, 1.0], np.float32))
    array([0., 1., 1., 3.], dtype=float32)
    """
    liked = gain > 0
    grade = np.zeros(len(gain), dtype=np.float32)
    if liked.any():
        grade[liked] = 1 + np.floor(np.log2(gain[liked] / gain[liked].min()) + 1e-6)
    return np.minimum(grade, 8)


def _train(
    objective: str, data: lgb.Dataset, stop: lgb.Dataset | None, config: TrainingConfig, trees: int
) -> lgb.Booster:
    """Return a model of one objective on data whose labels are grades; trees are counted on `stop`, if given."""
    grades = {dataset: np.asarray(dataset.construct().get_label()) for dataset in (data, stop) if dataset is not None}
    for dataset, grade in grades.items():
        dataset.set_label(grade > 0 if objective == BINARY else grade)
    data.set_weight(np.maximum(grades[data], 1) if objective == BINARY else None)
    model = lgb.train(
        _parameters(objective, config),
        data,
        num_boost_round=trees,
        valid_sets=None if stop is None else [stop],
        callbacks=None if stop is None else [lgb.early_stopping(config.ranker.patience, verbose=False)],
        keep_training_booster=True,
    )
    for dataset, grade in grades.items():
        dataset.set_label(grade)
    return model


def _parameters(objective: str, config: TrainingConfig) -> dict[str, object]:
    ranker = config.ranker
    return {
        "objective": objective,
        "metric": "ndcg",
        "eval_at": [10],
        "learning_rate": ranker.learning_rate,
        "num_leaves": ranker.leaves,
        "min_data_in_leaf": ranker.min_rows_in_leaf,
        "lambda_l2": ranker.l2,
        "lambdarank_truncation_level": ranker.truncation,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "feature_fraction": ranker.feature_fraction,
        "feature_pre_filter": False,
        "deterministic": True,
        "force_row_wise": True,
        "seed": config.seed,
        "num_threads": config.threads,
        "verbose": -1,
    }


def _last_trees(model: lgb.Booster) -> int:
    return max(round(_FURTHER_TREES * model.best_iteration), _FEWEST_TREES)


def _blends(objectives: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each objective alone, each two, and all together."""
    return [blend for size in range(1, len(objectives) + 1) for blend in combinations(objectives, size)]


def _all_scores(model: lgb.Booster, groups: Sequence[Group]) -> list[Floats]:
    """Return raw scores of each group's candidates."""
    rows = np.concatenate([group.rows for group in groups])
    scores = np.asarray(model.predict(rows, raw_score=True), dtype=np.float64)
    return np.split(scores, np.cumsum([len(group.rows) for group in groups])[:-1])


def _added(scores: Sequence[list[Floats]], spread: Sequence[float]) -> list[Floats]:
    """Return for each group the sum of several models' scores, each over its spread."""
    return [
        np.asarray(sum(part / width for part, width in zip(parts, spread, strict=True)))
        for parts in zip(*scores, strict=True)
    ]


def _mean_ndcg(groups: Sequence[Group], scores: Sequence[Floats]) -> float:
    values = [group.ndcg(found) for group, found in zip(groups, scores, strict=True)]
    return float(np.mean(values)) if values else 0.0
