"""How a bundle serves: budgets, what orders the candidates, and what those without history see."""

from typing import Final

import msgspec

from features.contracts.profiles import HISTORY_LIMIT
from training.bundle.sources import SOURCES

RANKER: Final = "ranker"
BLEND: Final = "blend"


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
    """

    budgets: dict[str, int]
    order_by: str = RANKER
    cold_source: str = "popular"
    history_limit: int = HISTORY_LIMIT


def default_budgets(personal: int = 50, popular: int = 30) -> dict[str, int]:
    """Return the default budget of each source."""
    return {name: popular if name.startswith(("popular", "trend")) else personal for name in SOURCES}
