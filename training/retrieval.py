"""Retrieval: everything a bundle holds except the ranker, fitted on what was known before a moment."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import structlog

from features.build.replay import final_state
from features.contracts.errors import ContractError
from features.contracts.facts import ItemFacts
from features.contracts.statistics import bucket_edge
from features.items import Categories
from training.als import confidence_matrix, fit_als
from training.bundle.content import Content, mapped, texts_told_of, usual_of
from training.bundle.foldin import FoldIn, all_but
from training.bundle.parts import Parts
from training.bundle.plan import BLEND, Plan, default_budgets
from training.bundle.sources import CONTENT
from training.bundle.tables import NeighbourTable
from training.config import TrainingConfig
from training.content import category_table
from training.data import Interactions
from training.following import FOLLOWINGS, following_table
from training.index import build_index, user_vectors
from training.neighbours import ease_table, similar_table
from training.ridge import fit_map, promised
from training.texts import ItemTexts

log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Training:
    """What is learned from: interactions before the end of training, and the catalogue in the same item order.

    The catalogue may hold items without an interaction: with `texts` they stand in retrieval by what their text says.
    `came_at` is when it tells that items came, datetime64[us] (n_items,), NaT where it does not; None: of none.
    """

    interactions: Interactions
    categories: Categories
    facts: ItemFacts
    until_us: int
    texts: ItemTexts | None = None
    came_at: npt.NDArray[np.datetime64] | None = None


def fit_retrieval(training: Training, config: TrainingConfig) -> Parts:
    """Return the parts of a bundle that orders candidates by rank fusion; a ranker may be added to them.

    Raises
    ------
    ContractError
        If no interaction shows that anything was liked.
    """
    known = training.interactions
    confidence = confidence_matrix(known, config.history_limit)
    if not confidence.nnz:
        raise ContractError(
            f"none of {len(known)} interactions shows that an item was liked: all weights are 0 or less, or were taken "
            "back. Give the actions that do a weight in the file of MARQUEE_ACTION_WEIGHTS, ratings a value, or train "
            "on more."
        )
    state = final_state(known.statistic_events(), known.start(), bucket_us=known.bucket_us)
    als = fit_als(confidence, config.als, seed=config.seed)
    fold_in, fresh, content = with_fresh_items(als, training, state.count, config)
    index, index_info = build_index(fold_in.factors, user_vectors(fold_in, confidence, config.seed))
    log.info("retrieval fitted", interactions=len(known), items=len(known.items), index=index_info.kind)
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
            CONTENT: NeighbourTable.none(len(known.items)) if training.texts is None else training.texts.neighbours,
        },
        categories=training.categories,
        facts=training.facts,
        state=state,
        closed_at_us=max(bucket_edge(training.until_us, known.bucket_us), newest),
        ranker=None,
        plan=Plan(
            default_budgets(config.sources_on(texts=content is not None)),
            order_by=BLEND,
            history_limit=config.history_limit,
            exclude_seen=config.exclude_seen,
        ),
        weights=config.weights,
        trained_until_us=training.until_us,
        bucket_us=known.bucket_us,
        has_clock=known.has_clock,
        n_users=len(np.unique(known.user)),
        n_interactions=len(known),
        fresh=fresh,
        content=content,
    )


def with_fresh_items(
    fold_in: FoldIn, training: Training, liking: npt.NDArray[np.int64], config: TrainingConfig
) -> tuple[FoldIn, npt.NDArray[np.int32], Content | None]:
    """Return a fold-in in which items without a history have the factors that their texts promise, and these items.

    `liking` is int64 (n_items,), liking events of each item, also of before the interactions.
    """
    texts, known = training.texts, training.interactions
    if texts is None:
        return fold_in, np.empty(0, np.int32), None
    liked = np.bincount(known.item[known.weight > 0], minlength=len(known.items)) > 0
    count = np.where(liked, liking, 0)
    has_text = np.asarray(texts.vectors.any(axis=1))
    learned = np.flatnonzero((count > 0) & has_text)
    wanted = promised(fold_in.factors, count)
    found = fit_map(texts.vectors[learned], wanted[learned], count[learned], seed=config.seed)
    fresh = np.flatnonzero(~known.met & has_text).astype(np.int32)
    factors = fold_in.factors.copy()
    usual = usual_of(mapped(texts.vectors[texts_told_of(has_text)], found.mapping))
    content = Content(texts.encoder, texts.vectors, found.mapping, usual, texts.until_us, texts.index)
    factors[fresh] = content.factors(texts.vectors[fresh])
    log.info("texts", fresh=len(fresh), strength=found.strength, explained=round(found.explained, 4))
    return replace(fold_in, factors=factors, held=all_but(len(factors), fresh)), fresh, content


def at_moment(training: Training, history: Interactions) -> Training:
    """Return a training on an earlier history of the same catalogue."""
    until_us = int(history.at_us[-1]) + 1
    return replace(training, interactions=history, until_us=until_us)
