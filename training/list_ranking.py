"""Logged lists re-ranked: a ranker that learns of lists before a cut orders those after it.

The ranker is fitted by the code that fits the one for recommendations, on groups from lists instead of candidates:
windows of lists before the cut, the latest of them the slice that validates. What it learns of lists alone (features of
`features.list_features`) stands beside all that a recommender knows of the items.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import structlog

from features.contracts.errors import ContractError
from features.contracts.spec import Feature, FeatureSpec
from features.contracts.times import told
from features.list_features import Attributes
from training.attributes import load_attributes
from training.bundle.bundle import Bundle
from training.bundle.fusion import order_scores
from training.bundle.offered import SPEC
from training.bundle.plan import RANKER
from training.catalogue import load_facts
from training.config import TrainingConfig
from training.data import VIRTUAL_SPAN_US, Interactions
from training.evaluation.resampling import UNKNOWN
from training.frames import load_categories
from training.groups import Group
from training.list_groups import Entries, ListMoment, LoggedLists, list_groups, list_spec
from training.metrics import STANDARD_ERRORS, Estimate
from training.progress import Progress, silent
from training.ranker import REFIT_GAIN, Floats, RankerFit, fit_ranker, unless_led
from training.retrieval import Training, fit_retrieval
from training.split import known_before

log = structlog.get_logger(__name__)

Scores = list[Floats]

SHOWN: Final = "shown"
"""The order in which lists were shown, as one more thing to beat."""
SINGLE: Final = ("item_ctr", "item_lift")
"""Features that order lists alone, as others."""
POSITION: Final = Feature(
    "position", "place at which the item was shown; unknown when lists are ranked", "1 =", "lists"
)

_WITHOUT: Final = "without position"
_WITH: Final = "with position"
_FEWEST_LISTS: Final = 100
"""Lists with a click from which a ranker learns; of fewer the bundle's own order is the better guess."""


@dataclass(frozen=True, eq=False)
class ListSource:
    """What lists are ranked from.

    Attributes
    ----------
    lists, interactions
        Logged lists, and what users did, both in the file's own times.
    items
        A catalogue file.
    bundle
        Whose budgets are used, and which orders lists where they are too few to learn from.
    config
        Of the training.
    below_clicks
        Whether unclicked items below a list's last click count as skipped.
    """

    lists: LoggedLists
    interactions: Interactions
    items: Path | None
    bundle: Bundle
    config: TrainingConfig
    below_clicks: bool = True

    @cached_property
    def attributes(self) -> Attributes:
        """Return the attributes of the lists' items."""
        return load_attributes(self.items, self.lists.items)

    def groups(self, entries: Entries, begin_us: int) -> list[Group]:
        """Return the groups of lists that begin at a time or later, retrieval fitted on what was known before it."""
        before = self.interactions.take(known_before(self.interactions, begin_us))
        known = before.with_items_of_rows().on_backtest_clock()
        until_us = int(known.at_us[-1]) + 1 if known.has_clock else VIRTUAL_SPAN_US
        categories, facts = load_categories(self.items, known.items), load_facts(self.items, known.items)
        parts = fit_retrieval(Training(known, categories, facts, until_us), self.config)
        recommender = parts.recommender().with_budgets(self.bundle.manifest.plan.budgets)
        moment = ListMoment(begin_us, recommender, known.items, known)
        return list_groups(self.lists, entries, moment, self.attributes)


@dataclass(frozen=True, eq=False)
class RankedLists:
    """Scores of the lists from a time on, and what they come from.

    Attributes
    ----------
    entries, scores
        The lists, and for each of them float64 scores of its items in the order shown.
    order_by
        What orders them: "ranker", "shown", a single feature, a source or blend, or "bundle" where lists are too few.
    validation
        NDCG@10 on the later slice, by method.
    ndcg
        NDCG@10 of each list with a click, by "ranked" and what it is compared with.
    """

    entries: Entries
    scores: Scores
    order_by: str
    validation: Mapping[str, float]
    ndcg: Mapping[str, npt.NDArray[np.float64]]

    def line(self) -> str:
        """Return NDCG@10 of the lists and of what they are compared with, in one line."""
        found = [f"{name} {values.mean():.4f}" for name, values in self.ndcg.items() if len(values)]
        return f"{len(self.entries)} by {self.order_by}; NDCG@10 of those with a click: {', '.join(found) or 'none'}"

    def to_json(self) -> dict[str, Any]:
        """Return what ``metrics.json`` holds of them, with 95 % intervals of the means (normal, over lists)."""
        return {
            "lists": len(self.entries),
            "order_by": self.order_by,
            "validation_ndcg@10": dict(self.validation),
            "ndcg@10": {
                name: (estimate.to_json() if len(self.ndcg[name]) else {}) | {"lists": len(self.ndcg[name])}
                for name, estimate in self.estimates.items()
            },
        }

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Return the mean NDCG@10 with its interval (normal, over lists), by order."""
        return {name: _with_interval(values) for name, values in self.ndcg.items()}


def rank_lists(source: ListSource, begin_us: int, progress: Progress = silent) -> RankedLists:
    """Return the lists from a time on, each scored from what was known before that time.

    Raises
    ------
    ContractError
        If no list begins at or after the time, or no interaction was known before it.
    """
    entries = np.arange(np.searchsorted(source.lists.at_us, begin_us), len(source.lists))
    if not len(entries) or not len(known_before(source.interactions, begin_us)):
        raise ContractError(
            f"impressions: {len(entries)} lists at or after {told(begin_us, has_clock=source.interactions.has_clock)}, "
            "and something must have been known before it: choose a cut inside the data"
        )
    later = source.groups(entries, begin_us)
    spec = list_spec(source.attributes)
    ranker = _fit(source, begin_us, spec, progress)
    scores = [_bundle_scores(source.bundle, group) for group in later] if ranker is None else ranker.score(later)
    compared = {"ranked": scores} | {name: _single(later, name, spec) for name in (SHOWN, *SINGLE)}
    order_by, validation = ("bundle", {}) if ranker is None else (ranker.order_by, ranker.validation)
    return RankedLists(entries, scores, order_by, validation, _judged(later, compared))


@dataclass(frozen=True, eq=False)
class _ListRanker:
    fit: RankerFit
    spec: FeatureSpec
    validation: Mapping[str, float]
    order_by: str

    def score(self, groups: Sequence[Group]) -> Scores:
        """Return scores of each group's items; their position counts as unknown."""
        if self.order_by in (SHOWN, *SINGLE):
            return _single(groups, self.order_by, self.spec)
        if self.order_by != RANKER:
            return [order_scores(group.ranks, self.order_by) for group in groups]
        asked = _with_position(groups, lambda _: False) if POSITION in self.spec.features else groups
        return [self.fit.ranker.scores(group.rows) for group in asked]


def _fit(source: ListSource, begin_us: int, spec: FeatureSpec, progress: Progress) -> _ListRanker | None:
    """Return what orders lists after a time, learned of windows before it; None where lists with clicks are too few.

    Some must lie in the latest window, which validates, and some before it. Position is learned of, and another order
    than the fit's own serves, only where that leads clearly on the latest.
    """
    windows = []
    for start_us, entries in source.lists.windows(begin_us):
        if len(known_before(source.interactions, start_us)):
            progress(f"lists: window of {len(entries)}")
            windows.append(source.groups(entries, start_us))
    clicked = [sum(bool(group.hit.any()) for group in window) for window in windows]
    if sum(clicked) < _FEWEST_LISTS or not any(clicked[:-1]) or not clicked[-1]:
        log.info("too few lists to learn from", clicked=clicked, wanted=_FEWEST_LISTS)
        return None
    progress("ranker of lists")
    earlier = [taught(group, below=source.below_clicks) for window in windows[:-1] for group in window]
    later = [group for group in windows[-1] if group.hit.any()]
    budgets, spec_at = source.bundle.manifest.plan.budgets, FeatureSpec((*spec.features, POSITION))
    plain = fit_ranker(earlier, later, source.config, budgets, spec)
    half, none = _with_position(earlier, lambda number: number % 2 == 0), _with_position(later, lambda _: False)
    placed = fit_ranker(half, none, source.config, budgets, spec_at)
    variants = {_WITHOUT: _ndcg(later, plain.scores), _WITH: _ndcg(none, placed.scores)}
    fit, used = (placed, spec_at) if unless_led(variants, _WITHOUT) == _WITH else (plain, spec)
    own = fit.scores if fit.order_by == RANKER else [order_scores(group.ranks, fit.order_by) for group in later]
    single = {name: _ndcg(later, _single(later, name, spec)) for name in (SHOWN, *SINGLE)}
    order_by = unless_led({fit.order_by: _ndcg(later, own)} | single, fit.order_by, REFIT_GAIN)
    validation = fit.validation | {name: float(values.mean()) for name, values in (single | variants).items()}
    log.info("order of lists chosen on validation", order_by=order_by, ndcg=validation)
    return _ListRanker(fit, used, validation, order_by)


def taught(group: Group, *, below: bool) -> Group:
    """Return the group with the unclicked items below its last click or without them: they may not have been seen."""
    if below or not group.hit.any():
        return group
    return group.take(np.arange(int(np.flatnonzero(group.hit)[-1]) + 1))


def _with_position(groups: Sequence[Group], known: Callable[[int], bool]) -> list[Group]:
    """Return the groups with their position as one more column, NaN where it shall not be known.

    It is known in every other list only that is learned from: so the ranker learns what to make of lists without it.
    """
    placed = []
    for number, group in enumerate(groups):
        at = group.position if known(number) and group.position is not None else np.full(len(group.gain), np.nan)
        placed.append(replace(group, rows=np.column_stack((group.rows, at)).astype(np.float32)))
    return placed


def _single(groups: Sequence[Group], name: str, spec: FeatureSpec) -> Scores:
    """Return scores by the order shown, or by one feature (unknown last)."""
    if name == SHOWN:
        return [-np.arange(len(group.gain), dtype=np.float64) for group in groups]
    column = spec.names.index(name)
    return [np.nan_to_num(group.rows[:, column].astype(np.float64), nan=-1.0) for group in groups]


def _bundle_scores(bundle: Bundle, group: Group) -> npt.NDArray[np.float64]:
    """Return scores as the bundle orders candidates; items that it lacks come last, as shown."""
    plan, ranker = bundle.manifest.plan, bundle.recommender.ranker
    lacked = np.isnan(group.rows[:, : len(SPEC)]).all(axis=1)
    cold = not (group.rows[~lacked, SPEC.names.index("user_liked")] > 0).any()  # NaN of strangers
    if cold or plan.order_by != RANKER or ranker is None:
        scores = order_scores(group.ranks, plan.cold_source if cold else plan.order_by)
    else:
        scores = ranker.scores(group.rows[:, : len(SPEC)])
    return np.where(lacked, scores.min(initial=0.0) - 1, scores)


def _judged(groups: Sequence[Group], scores: Mapping[str, Scores]) -> dict[str, npt.NDArray[np.float64]]:
    return {
        name: np.array([group.ndcg(found) for group, found in zip(groups, one, strict=True) if group.hit.any()])
        for name, one in scores.items()
    }


def _ndcg(groups: Sequence[Group], scores: Sequence[Floats]) -> Floats:
    return np.array([group.ndcg(found) for group, found in zip(groups, scores, strict=True)])


def _with_interval(values: npt.NDArray[np.float64]) -> Estimate:
    if not len(values):
        return UNKNOWN
    half = STANDARD_ERRORS * float(values.std()) / len(values) ** 0.5
    mean = float(values.mean())
    return Estimate(mean, mean - half, mean + half)
