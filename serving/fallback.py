"""What is answered when something is missing, and what the answer says of it."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from serving.explain import reason_of, unranked
from training.bundle.result import RANKER_LATE

NO_MODEL: Final = "no_model"
PROFILE_UNAVAILABLE: Final = "profile_unavailable"
STATISTICS_UNAVAILABLE: Final = "statistics_unavailable"
STATISTICS_OF_OTHER_WEIGHTS: Final = "statistics_of_other_weights"
"""Events are weighed otherwise than when the model was trained: its own statistics serve until the next training."""
ITEM_STATES_UNAVAILABLE: Final = "item_states_unavailable"
TEXTS_UNAVAILABLE: Final = "texts_unavailable"
PROFILE_LATE: Final = "profile_late"
LIST_LATE: Final = "list_late"
ITEM_UNKNOWN: Final = "item_unknown"
"""The model does not know the item whose like were asked for."""

POPULAR_ALONE: Final = "There is no model yet: what is popular comes first."

_DEGRADING: Final = (
    *(NO_MODEL, LIST_LATE, PROFILE_UNAVAILABLE, PROFILE_LATE, RANKER_LATE),
    *(ITEM_STATES_UNAVAILABLE, TEXTS_UNAVAILABLE, STATISTICS_UNAVAILABLE, STATISTICS_OF_OTHER_WEIGHTS),
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


def popular_list(
    popular: Sequence[str], leave_out: Collection[str], k: int, title: Callable[[str], str | None], *, explain: bool
) -> list[dict[str, Any]]:
    """Return the wire form of a list that was made without a model, best first.

    Parameters
    ----------
    popular
        External ids, best first.
    leave_out
        External ids that must not come back.
    k
        Items wanted.
    title
        Gives the title of an item, None where none is known.
    explain
        Whether each item tells how it came into the list.
    """
    said = {"explanation": unranked({"ordered_by": "popular", "said": POPULAR_ALONE})} if explain else {}
    chosen = [item_id for item_id in popular if item_id not in leave_out][:k]
    return [
        {
            "item_id": item_id,
            "rank": rank,
            "score": 1.0 / rank,
            "source": "popular",
            "reason": reason_of("popular", None),
            "title": title(item_id),
            **said,
        }
        for rank, item_id in enumerate(chosen, 1)
    ]
