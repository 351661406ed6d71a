"""Made-up interactions with a known structure, and a bundle trained on them in a second or two."""

from dataclasses import replace
from functools import lru_cache

import msgspec
import numpy as np

from features.contracts.facts import ItemFacts
from features.contracts.ids import IdMap
from features.contracts.statistics import DAY_US
from features.items import Categories
from training.als import AlsConfig
from training.bundle.parts import Parts
from training.config import RankerConfig, TrainingConfig
from training.data import Interactions
from training.fit import Fitted, fit
from training.moments import position_moments
from training.retrieval import Training
from training.texts import ItemTexts, nearest_texts

START_US = 20_000 * DAY_US
N_GROUPS = 4

SMALL = TrainingConfig(als=AlsConfig(factors=8, iterations=5), ranker=RankerConfig(trees=20, min_rows_in_leaf=5))


def make_interactions(seed: int = 0, n_users: int = 60, n_items: int = 80, per_user: int = 20) -> Interactions:
    """Return interactions over 40 days: users like items of one group (number modulo 4) four times of five."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(n_users), per_user)
    own = rng.integers(n_items // N_GROUPS, size=len(user)) * N_GROUPS + user % N_GROUPS
    item = np.where(rng.random(len(user)) < 0.8, own, rng.integers(n_items, size=len(user)))
    at_us = START_US + rng.integers(40 * DAY_US, size=len(user))
    order = np.argsort(at_us, kind="stable")
    return Interactions(
        users=IdMap([f"u{number}" for number in range(n_users)]),
        items=IdMap([f"i{number}" for number in range(n_items)]),
        user=user[order].astype(np.int32),
        item=item[order].astype(np.int32),
        weight=rng.choice(np.array([0.0, 0.7, 0.8, 1.0], np.float32), len(user)),
        at_us=at_us[order],
        known_us=at_us[order],
        strong=rng.random(len(user)) < 0.5,
        rating=rng.choice(np.array([np.nan, 0.2, 0.6, 1.0], np.float32), len(user)),
    )


def with_stray(interactions: Interactions, at_us: int = 0) -> Interactions:
    """Return the interactions after one more of the first row's user and item, by a clock that stood still."""
    times = np.concatenate(([at_us], interactions.at_us))
    return replace(interactions.take(np.r_[0, np.arange(len(interactions))]), at_us=times, known_us=times)


def make_categories(n_items: int = 80) -> Categories:
    """Return one category per item, its group; every fifth item has none."""
    has = np.arange(n_items) % 5 != 0
    offsets = np.concatenate(([0], np.cumsum(has))).astype(np.int64)
    return Categories(("g0", "g1", "g2", "g3"), offsets, (np.flatnonzero(has) % N_GROUPS).astype(np.int32))


def make_facts(n_items: int = 80) -> ItemFacts:
    """Return a price of each item but every fifth, and a year of each but every seventh."""
    number = np.arange(n_items, dtype=np.float32)
    price, year = number % 10 + 0.5, 1990 + number % 30
    return ItemFacts(np.where(number % 5 == 0, np.nan, price), np.where(number % 7 == 0, np.nan, year))


def make_texts(n_items: int = 80, seed: int = 0) -> ItemTexts:
    """Return texts that tell an item's group; every ninth item has none."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((N_GROUPS, 16))[np.arange(n_items) % N_GROUPS] + rng.normal(0, 0.3, (n_items, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[np.arange(n_items) % 9 == 0] = 0
    halves = vectors.astype(np.float16)
    return ItemTexts("made-up", halves, nearest_texts(halves), START_US)


@lru_cache(maxsize=1)
def trained_on_texts() -> tuple[Interactions, Parts]:
    """Return interactions, and the parts of a bundle whose items know texts; the last ten have no history."""
    interactions = make_interactions(n_users=240, n_items=70).with_more_items(
        [f"i{number}" for number in range(70, 80)]
    )
    interactions = interactions.on_backtest_clock()
    until_us = int(interactions.at_us[-1]) + 1
    training = Training(interactions, make_categories(), make_facts(), until_us, make_texts())
    parts, fitted = fit(training, position_moments(interactions, 0.2, 2), replace(SMALL, new_items=True))
    return interactions, with_ranker(parts, fitted)


@lru_cache(maxsize=1)
def trained() -> tuple[Interactions, Parts]:
    """Return interactions and the parts of a bundle with a ranker that was trained on all of them."""
    interactions = make_interactions().on_backtest_clock()
    training = Training(interactions, make_categories(), make_facts(), int(interactions.at_us[-1]) + 1)
    parts, fitted = fit(training, position_moments(interactions, 0.2, 2), SMALL)
    return interactions, with_ranker(parts, fitted)


def with_ranker(parts: Parts, fitted: Fitted) -> Parts:
    """Return the parts ordered by the ranker, whatever the validation slice said: tests want that path."""
    plan = msgspec.structs.replace(parts.plan, order_by="ranker")
    fresh = None if fitted.fresh is None else fitted.fresh.ranker
    return replace(parts, plan=plan, ranker=fitted.known.ranker, fresh_ranker=fresh)
