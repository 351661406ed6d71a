"""What is answered when something is missing, and what the answer says of it."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from serving.explain import reason_of
from training.bundle.result import RANKER_LATE

NO_MODEL: Final = "no_model"
PROFILE_UNAVAILABLE: Final = "profile_unavailable"
STATISTICS_UNAVAILABLE: Final = "statistics_unavailable"
ITEM_STATES_UNAVAILABLE: Final = "item_states_unavailable"
TEXTS_UNAVAILABLE: Final = "texts_unavailable"
PROFILE_LATE: Final = "profile_late"
LIST_LATE: Final = "list_late"
ITEM_UNKNOWN: Final = "item_unknown"
"""The model does not know the item whose like were asked for."""

_DEGRADING: Final = (
    *(NO_MODEL, LIST_LATE, PROFILE_UNAVAILABLE, PROFILE_LATE, RANKER_LATE),
    *(ITEM_STATES_UNAVAILABLE, TEXTS_UNAVAILABLE, STATISTICS_UNAVAILABLE),
)
"""Reasons that make an answer worse than it should be, the gravest first."""


def verdict(reasons: Collection[str | None]) -> tuple[bool, str | None]:
    """Return whether an answer is degraded, and the gravest of some reasons.

    >>> verdict(["no_history", "statistics_unavailable"]), verdict(["no_history"]), verdict([None])
    ((True, 'statistics_unavailable'), (False, 'no_history'), (False, None))
    """
    for reason in _DEGRADING:
        if reason in reasons:
            return True, reason
    return False, next((reason for reason in reasons if reason), None)


def popular_list(popular: Sequence[str], leave_out: Collection[str], k: int) -> list[dict[str, Any]]:
    """Return the wire form of a list that was made without a model, best first.

    Parameters
    ----------
    popular
        External ids, best first.
    leave_out
        External ids that must not come back.
    k
        Items wanted.
    """
    chosen = [item_id for item_id in popular if item_id not in leave_out][:k]
    return [
        {
            "item_id": item_id,
            "rank": rank,
            "score": 1.0 / rank,
            "source": "popular",
            "reason": reason_of("popular", None),
            "title": None,
        }
        for rank, item_id in enumerate(chosen, 1)
    ]
