"""The ranker: LightGBM on candidates made by the code that serves, and the proof that it is worth serving."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations, repeat
from typing import Final, TypeVar

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import structlog

from features.contracts.spec import FeatureSpec
from training.bundle.fusion import order_scores
from training.bundle.offered import SPEC
from training.bundle.plan import BLEND, RANKER
from training.bundle.ranker import Ranker
from training.bundle.sources import POPULAR_PLANS, SOURCES
from training.choice import Choice, Lead, lead_over
from training.config import TrainingConfig
from training.groups import Group
from training.ranker_data import RankerData, binned, ranker_data

log = structlog.get_logger(__name__)

Floats = npt.NDArray[np.float64]
Fit = TypeVar("Fit")

MONOTONE: Final = {
    "item_rating": 1,
    "item_disliked": -1,
    "similar_disliked": -1,
    "text_disliked": -1,
    "item_ctr": 1,
    "item_lift": 1,
    "item_again": 1,
}
"""Which way a score may go as a feature grows, all else alike."""
CLOCK: Final = ("hour", "weekday")
_MOMENTS_FOR_CLOCK: Final = 30
"""Distinct hours of a week that must be among the moments for these features to be learned from."""
NOTHING: Final = "nothing to learn from"
"""In place of the objective chosen."""
UNLEARNED: Final = (
    "There is too little to learn an order from and to validate it on: both take users with five or more interactions, "
    "who liked what others had, too. Lists are ordered by the blend of all sources, those of users without a history "
    "by popularity, and neither was validated."
)
_AND: Final = " + "
_FURTHER_TREES: Final = 1.1
"""Trees of the last fit over those that early stopping found: it learns from more."""
_FEWEST_TREES: Final = 10
REFIT_GAIN: Final = 0.05
"""By this share the ranker that serves is counted better than the one validated: it learns of the latest slice too."""
_GROUPS_AT_ONCE: Final = 100
"""Groups whose rows are held in memory together."""


@dataclass(frozen=True, eq=False)
class RankerFit:
    """A fitted ranker, and NDCG@10 on the validation slice of it and of everything it must beat.

    Attributes
    ----------
    ranker
        Fitted on all groups, or as it was validated.
    validation
        NDCG@10 on the later slice, by method: "ranker", what it was made of ("lambdarank", "lambdarank + binary" ...),
        each source that offers anything, and "blend"; all fitted on earlier slices only.
    chosen
        Which of the methods the ranker is.
    order_by
        What serves: the ranker, or the source or blend of ranks that clearly did better on the later slice.
    leads
        By how much each source and the blend lead the ranker on the later slice.
    budgets
        Candidates that each source may propose.
    n_rows, n_groups
        What the ranker learned from.
    scores
        Of the later slice's candidates, by group, before the ranker learned of these.
    """

    ranker: Ranker
    validation: dict[str, float]
    chosen: str
    order_by: str
    leads: dict[str, Lead]
    budgets: Mapping[str, int]
    n_rows: int
    n_groups: int
    scores: Sequence[Floats]

    @property
    def learned(self) -> bool:
        """Return whether there was anything to learn an order from."""
        return self.n_groups > 0

    @property
    def cold_source(self) -> str:
        """Return the source whose order served users best who were taken for strangers."""
        popular = (name for name in POPULAR_PLANS if self.budgets[name])
        return max(popular, key=lambda name: self.validation.get(name, 0.0))

    @property
    def choice(self) -> Choice:
        """Return what was chosen and why, without what was fitted."""
        return Choice(self.order_by, self.chosen, self.validation, self.leads)


def fit_ranker(
    fit: Sequence[Group],
    validation: Sequence[Group],
    config: TrainingConfig,
    budgets: Mapping[str, int],
    spec: FeatureSpec = SPEC,
    *,
    refit: bool = True,
) -> RankerFit:
    """Return the objective, or blend of objectives, that did best on the validation slice.

    Parameters
    ----------
    fit, validation
        Groups of earlier moments, and of a later one: by it trees are counted and objectives chosen.
    budgets
        Candidates of each source, as the groups were made.
    spec
        Names of the groups' columns.
    refit
        Whether it is fitted on everything in the end, or stays as it was validated.
    """
    return fit_on(ranker_data(fit, validation, config, budgets, spec), config, refit=refit)


def unlearned(validation: Sequence[Group], budgets: Mapping[str, int]) -> RankerFit:
    """Return a ranker without a tree, in whose place the blend of ranks serves: no list says what should be above what.

    Nothing was learned and nothing validated, so that users without a history get the first source by popularity.
    """
    scores = [order_scores(group.ranks, BLEND) for group in validation]
    return RankerFit(Ranker((), ()), {}, NOTHING, BLEND, {}, budgets, 0, 0, scores)


def fit_on(made: RankerData, config: TrainingConfig, *, refit: bool = True) -> RankerFit:
    """Return the objective, or blend of objectives, that did best on the later slice.

    It is fitted on everything in the end, several times; with `refit` False it stays as it was validated.
    """
    settings = config.ranker
    rules = _parameters(config) | column_rules(made)

    data = made.binned_for(settings.objectives, config.threads)

    def learned(name: str, threads: int) -> lgb.Booster:
        with_threads = rules | {"objective": name, "num_threads": threads}
        return _train(with_threads, *data[name], settings.trees, settings.patience)

    models = dict(zip(settings.objectives, _side_by_side(learned, settings.objectives, config.threads), strict=True))
    scores = {name: _all_scores(model, made.validation, config.threads) for name, model in models.items()}
    spread = {name: max(float(np.concatenate(found).std()), 1e-9) for name, found in scores.items()}
    blends = {_AND.join(blend): blend for blend in _blends(settings.objectives)}
    blended = {
        name: _added([scores[part] for part in blend], [spread[part] for part in blend])
        for name, blend in blends.items()
    }
    values = _validated(made.validation, blended)
    *_, largest = blends
    chosen = unless_led({name: values[name] for name in blends}, largest)
    values[RANKER] = values[chosen]
    orders = (BLEND, *(name for name in SOURCES if made.budgets[name] and name in values))
    order_by = unless_led({name: values[name] for name in (RANKER, *orders)}, RANKER, REFIT_GAIN)
    leads = {name: lead_over(values[RANKER], values[name], REFIT_GAIN) for name in orders}
    found = {name: float(entry.mean()) if len(entry) else 0.0 for name, entry in values.items()}
    fits = [models]
    if refit:
        trees = {name: _last_trees(models[name]) for name in blends[chosen]}
        fits = _last_fits(made, trees, rules, config)
    parts = [(fit[name], 1 / (len(fits) * spread[name])) for fit in fits for name in blends[chosen]]
    ranker = Ranker(tuple(model for model, _ in parts), tuple(share for _, share in parts))
    return RankerFit(ranker, found, chosen, order_by, leads, made.budgets, made.n_rows, made.n_groups, blended[chosen])


def column_rules(made: RankerData) -> dict[str, object]:
    """Return LightGBM's parameters by column: which way a score may go, and what may not be split on.

    Hour and weekday are the same for all users of a common moment: where moments are few they would only tell them
    apart, and are left alone.
    """
    clock = [made.spec.names.index(name) for name in CLOCK if name in made.spec.names]
    seen = {tuple(group.rows[0, clock].tolist()) for group in made.validation if len(group.rows)}
    unused = CLOCK if len(seen) < _MOMENTS_FOR_CLOCK else ()
    return {
        "monotone_constraints": [MONOTONE.get(name, 0) for name in made.spec.names],
        "feature_contri": [float(name not in unused) for name in made.spec.names],
    }


def _last_fits(
    made: RankerData, trees: Mapping[str, int], rules: Mapping[str, object], config: TrainingConfig
) -> list[dict[str, lgb.Booster]]:
    """Return models of so many trees of each objective, fitted on everything, for each of the last fits' seeds.

    Those of many trees begin first, so that what is left in the end is short.
    """
    seeds = range(config.seed, config.seed + config.ranker.fits)
    order = [(name, seed) for name in sorted(trees, key=lambda name: -trees[name]) for seed in seeds]
    copies = binned(made.everything(), made.spec, [name for name, _ in order], config.threads)
    data = dict(zip(order, copies, strict=True))

    def learned(fit: tuple[str, int], threads: int) -> lgb.Booster:
        name, seed = fit
        with_threads = dict(rules) | {"objective": name, "num_threads": threads, "seed": seed}
        return _train(with_threads, data.pop(fit), None, trees[name])  # whose bins are of no more use

    models = dict(zip(order, _side_by_side(learned, order, config.threads), strict=True))
    return [{name: models[name, seed] for name in trees} for seed in seeds]


def _side_by_side(learn: Callable[[Fit, int], lgb.Booster], fits: Sequence[Fit], threads: int) -> list[lgb.Booster]:
    """Return a model of each fit, several at a time: threads of one fit wait for each other at every leaf.

    What is fitted does not depend on the number of threads, which each fit is told.
    """
    at_once = min(threads, len(fits))
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(learn, fits, repeat(threads // at_once)))


def _train(
    parameters: Mapping[str, object], data: lgb.Dataset, stop: lgb.Dataset | None, trees: int, patience: int = 0
) -> lgb.Booster:
    """Return a model of one objective; trees are counted on `stop`, if given."""
    return lgb.train(
        dict(parameters),
        data,
        num_boost_round=trees,
        valid_sets=None if stop is None else [stop],
        callbacks=None if stop is None else [lgb.early_stopping(patience, verbose=False)],
    )


def _parameters(config: TrainingConfig) -> dict[str, object]:
    """Return LightGBM's settings of every objective."""
    ranker = config.ranker
    return {
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
        "force_col_wise": True,
        "seed": config.seed,
        "verbose": -1,
    }


def _last_trees(model: lgb.Booster) -> int:
    return max(round(_FURTHER_TREES * model.best_iteration), _FEWEST_TREES)


def _blends(objectives: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each objective alone, each two, and all together."""
    return [blend for size in range(1, len(objectives) + 1) for blend in combinations(objectives, size)]


def _all_scores(model: lgb.Booster, groups: Sequence[Group], threads: int) -> list[Floats]:
    """Return raw scores of each group's candidates."""
    found: list[Floats] = []
    for start in range(0, len(groups), _GROUPS_AT_ONCE):
        some = groups[start : start + _GROUPS_AT_ONCE]
        rows = np.concatenate([group.rows for group in some])
        scores = model.predict(rows, raw_score=True, num_threads=threads)
        found += np.split(np.asarray(scores, dtype=np.float64), np.cumsum([len(group.gain) for group in some])[:-1])
    return found


def _added(scores: Sequence[list[Floats]], spread: Sequence[float]) -> list[Floats]:
    """Return for each group the sum of several models' scores, each over its spread."""
    return [
        np.asarray(sum(part / width for part, width in zip(parts, spread, strict=True)))
        for parts in zip(*scores, strict=True)
    ]


def unless_led(values: Mapping[str, Floats], default: str, handicap: float = 0.0) -> str:
    """Return the default, unless the best of the others clearly leads it (`Lead.is_clear`).

    `values` holds NDCG@10 of each group, (n_groups,), by name; `handicap` is the share of its own by which the default
    is counted better than it is.
    """
    best = max(values, key=lambda name: values[name].sum())
    return best if lead_over(values[default], values[best], handicap).is_clear else default


def _validated(groups: Sequence[Group], scores: Mapping[str, Sequence[Floats]]) -> dict[str, Floats]:
    """Return NDCG@10 of each group's candidates by scores, and by each order that needs none: (n_groups,), by name.

    A source that offers nothing to anybody is left out: what orders its list would be the blend.
    """
    offers = [np.isfinite(group.ranks).any(axis=0) for group in groups]
    known = np.any(offers, axis=0) if offers else np.zeros(len(SOURCES), dtype=bool)
    orders = (*(name for name, some in zip(SOURCES, known, strict=True) if some), BLEND)
    values: dict[str, list[float]] = {name: [] for name in (*scores, *orders)}
    for number, group in enumerate(groups):
        for name, found in scores.items():
            values[name].append(group.ndcg(found[number]))
        for order in orders:
            values[order].append(group.ndcg(order_scores(group.ranks, order)))
    return {name: np.array(found) for name, found in values.items()}
