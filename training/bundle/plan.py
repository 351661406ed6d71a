"""How a bundle serves: budgets, what orders the candidates, and what those without history see."""

from collections.abc import Sequence
from typing import Final

import msgspec

from features.contracts.errors import ContractError
from features.contracts.profiles import HISTORY_LIMIT
from training.bundle.sources import POPULAR_PLANS, SOURCES

RANKER: Final = "ranker"
BLEND: Final = "blend"


class FreshPlan(msgspec.Struct, frozen=True):
    """Where items without a history stand among the others, found on the validation slice.

    Attributes
    ----------
    slope, offset
        A score s of their own ranker puts them at the place among a list's known candidates whose natural logarithm is
        `offset - slope * s`, from 0 for the first: candidates of both are liked as often there.
    joins
        Whether they stand where that puts them; else below all known candidates, since lists were better without them.
    taste
        What a unit of `text_taste` adds to what their own ranker says.
    promise, promised
        What a unit of `text_popularity` beyond `promised` adds for who has liked nothing; who has, the less.
    candidates
        Known candidates that a list usually has: among fewer, places are as far from the end.
    """

    slope: float
    offset: float
    joins: bool
    taste: float = 0.0
    promise: float = 0.0
    promised: float = 0.0
    candidates: float = 0.0


class Plan(msgspec.Struct, frozen=True):
    """The serving choices that training made on its validation slice, part of the manifest.

    Attributes
    ----------
    budgets
        Candidates that each source of `SOURCES` may propose.
    order_by
        "ranker" (LightGBM), "blend" (reciprocal rank fusion), or the name of the one source that did best.
    cold_source
        Source whose order users without history get.
    history_limit
        Latest events of a user that count.
    exclude_seen
        Whether items that a user had are left out unless a request says otherwise.
    dislike
        Standard deviations of the best candidates' scores that an item loses whose text is that of a disliked one, and
        less where it is less alike (`training.bundle.dislikes`). 0 in bundles that were made before this was looked at.
    fresh
        Where items without a history stand. None where that was not looked for: where ranks order all, so do they with
        these, else below all known candidates.
    """

    budgets: dict[str, int]
    order_by: str = RANKER
    cold_source: str = "popular"
    history_limit: int = HISTORY_LIMIT
    exclude_seen: bool = True
    dislike: float = 0.0
    fresh: FreshPlan | None = None


def sources_on(without: Sequence[str] = (), idle: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the sources that may propose: neither those to be left out nor those that would have nothing to offer.

    Raises
    ------
    ContractError
        If a source to be left out is unknown, or none is left that needs no history.
    """
    unknown = sorted(set(without) - set(SOURCES))
    if unknown:
        raise ContractError(f"source {unknown[0]!r} is unknown; sources are {', '.join(SOURCES)}")
    if set(POPULAR_PLANS) <= set(without):
        raise ContractError(f"one of {', '.join(POPULAR_PLANS)} is needed: new users get nothing else")
    return tuple(name for name in SOURCES if name not in without and name not in idle)


def default_budgets(on: Sequence[str] = SOURCES, each: int = 20) -> dict[str, int]:
    """Return one budget for all sources that are on, 0 for the others: where nothing was measured yet."""
    return {name: each if name in on else 0 for name in SOURCES}
