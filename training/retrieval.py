"""Retrieval: everything a bundle holds except the ranker, fitted on what was known before a moment."""

from dataclasses import dataclass, replace

import structlog

from features.build.replay import final_state
from features.contracts.facts import ItemFacts
from features.contracts.statistics import bucket_edge
from features.items import Categories
from training.als import confidence_matrix, fit_als
from training.bundle.parts import Parts
from training.bundle.plan import BLEND, Plan, default_budgets, sources_on
from training.config import TrainingConfig
from training.content import category_table
from training.data import Interactions
from training.following import FOLLOWINGS, following_table
from training.index import build_index, user_vectors
from training.neighbours import ease_table, similar_table

log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Training:
    """What is learned from: interactions before the end of training, and the catalogue in the same item order."""

    interactions: Interactions
    categories: Categories
    facts: ItemFacts
    until_us: int


def fit_retrieval(training: Training, config: TrainingConfig) -> Parts:
    """Return the parts of a bundle that orders candidates by rank fusion; a ranker may be added to them."""
    known = training.interactions
    confidence = confidence_matrix(known, config.history_limit)
    fold_in = fit_als(confidence, config.als, seed=config.seed)
    index, index_info = build_index(fold_in.factors, user_vectors(fold_in, confidence, config.seed))
    log.info("retrieval fitted", interactions=len(known), items=len(known.items), index=index_info.kind)
    state = final_state(known.statistic_events(), len(known.items), bucket_us=known.bucket_us)
    newest = int(state.last_at_us.max(initial=0))
    return Parts(
        items=known.items,
        fold_in=fold_in,
        index=index,
        index_info=index_info,
        tables={
            "ease": ease_table(confidence, config.ease_regularization),
            "similar": similar_table(confidence),
            **{name: following_table(known, how) for name, how in FOLLOWINGS.items()},
            "category": category_table(training.categories, state.count),
        },
        categories=training.categories,
        facts=training.facts,
        state=state,
        closed_at_us=max(bucket_edge(training.until_us, known.bucket_us), newest),
        ranker=None,
        plan=Plan(
            default_budgets(sources_on(config.without, exclude_seen=config.exclude_seen)),
            order_by=BLEND,
            history_limit=config.history_limit,
            exclude_seen=config.exclude_seen,
        ),
        weights=config.weights,
        trained_until_us=training.until_us,
        bucket_us=known.bucket_us,
        has_clock=known.has_clock,
        n_users=len(known.users),
        n_interactions=len(known),
    )


def at_moment(training: Training, history: Interactions) -> Training:
    """Return a training on an earlier history of the same catalogue."""
    until_us = int(history.at_us[-1]) + 1
    return replace(training, interactions=history, until_us=until_us)
