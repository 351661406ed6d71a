"""How much liking an action shows: the preference weight of an event, by configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from features.contracts.errors import ContractError

Rule = Literal["constant", "share", "rating", "signed"]

RATING_SCALES: Final = (1.0, 5.0, 10.0, 100.0)
"""Rating scales in use; the one that data follows is the smallest that holds its largest rating."""


@dataclass(frozen=True, slots=True)
class ActionWeight:
    """How one action is weighed.

    `constant`: always `base`. `share`: `base` x value in 0..1 (a watch by the share watched). `rating`: `base` x
    value / scale where that is at least the threshold of liking, `-base` x (1 - value / scale) / 2 where it is at most
    the threshold of disliking, else 0. `signed`: `base` with the value's sign. An event without a value counts as
    value 1 (a rating without value as 0).

    `strong`: the action shows more than a look, so that strong over all events is an item's conversion.
    """

    rule: Rule
    base: float
    strong: bool = False


DEFAULT_ACTIONS: Final[Mapping[str, ActionWeight]] = {
    "view": ActionWeight("constant", 1.0),
    "click": ActionWeight("constant", 1.0),
    "watch": ActionWeight("share", 2.0, strong=True),
    "rating": ActionWeight("rating", 1.0, strong=True),
    "favorite": ActionWeight("signed", 2.0, strong=True),
    "like": ActionWeight("signed", 1.0, strong=True),
    "dislike": ActionWeight("constant", -1.0),
    "cart": ActionWeight("constant", 1.0, strong=True),
    "purchase": ActionWeight("constant", 1.0, strong=True),
}
"""What each action weighs where it is the only one; `features.contracts.found_weights` sets them apart."""


@dataclass(frozen=True, slots=True)
class ActionWeights:
    """The weights of all actions, and how ratings are read.

    Attributes
    ----------
    actions
        By name; an action that is not among them weighs nothing.
    rating_scale
        The largest rating that can be given.
    rating_threshold, rating_dislike
        Shares of the scale: from the first on a rating shows liking, up to the second it shows dislike; 0 as the
        second means that no rating does.
    """

    actions: Mapping[str, ActionWeight] = field(default_factory=lambda: dict(DEFAULT_ACTIONS))
    rating_scale: float = 5.0
    rating_threshold: float = 0.6
    rating_dislike: float = 0.4

    def weigh(self, actions: Sequence[str], values: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the preference weight of each event, float32; 0 where the action is unknown.

        Parameters
        ----------
        actions
            The events' actions.
        values
            Their values, NaN where an event carried none.
        """
        value = np.asarray(values, dtype=np.float64)
        if len(set(actions)) == 1:
            return self._weigh_one(actions[0], value)
        names = np.asarray(actions, dtype=object)
        weight = np.zeros(len(value), dtype=np.float32)
        for action in set(actions):
            rows = names == action
            weight[rows] = self._weigh_one(action, value[rows])
        return weight

    def strong(self, actions: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return which events have an action that shows more than a look, bool (n,)."""
        strong = {name for name, weight in self.actions.items() if weight.strong}
        return np.fromiter((action in strong for action in actions), dtype=bool, count=len(actions))

    def ratings(self, actions: Sequence[str], values: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the rating that each event gave as a share of the scale, float32 (n,); NaN where it gave none."""
        rated = {name for name, weight in self.actions.items() if weight.rule == "rating"}
        is_rating = np.fromiter((action in rated for action in actions), dtype=bool, count=len(actions))
        return np.where(is_rating, self._share(np.asarray(values, dtype=np.float64)), np.nan).astype(np.float32)

    def _weigh_one(self, action: str, value: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        weight = self.actions.get(action)
        if weight is None:
            return np.zeros(len(value), dtype=np.float32)
        match weight.rule:
            case "constant":
                strength = np.ones(len(value))
            case "share":
                strength = np.clip(np.nan_to_num(value, nan=1.0), 0.0, 1.0)
            case "rating":
                strength = self._strength(self._share(value))
            case "signed":
                strength = np.sign(np.nan_to_num(value, nan=1.0))
        return (weight.base * strength).astype(np.float32)

    def _share(self, rating: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return ratings as shares of the scale; what is beyond it stands at its end."""
        return np.clip(rating / self.rating_scale, -1.0, 1.0)

    def _strength(self, share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return how much liking ratings show, by their share of the scale; NaN shows none.

        Disliking is at most half as strong as liking: -0.5 to -0.3 with the default thresholds, where liking is 0.6 to
        1. So no low rating has the strength of a look or of a better rating, and `taken_back` leaves these alone.
        """
        liked = np.where(share >= self.rating_threshold, share, 0.0)
        return np.where(share <= self.rating_dislike, (share - 1) / 2, liked) if self.rating_dislike > 0 else liked

    def to_json(self) -> dict[str, object]:
        """Return the weights as JSON values, as a bundle's manifest and a run's parameters hold them."""
        return {
            "actions": {name: asdict(w) for name, w in sorted(self.actions.items())},
            "rating_scale": self.rating_scale,
            "rating_threshold": self.rating_threshold,
            "rating_dislike": self.rating_dislike,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> "ActionWeights":
        """Return the weights that `to_json` wrote.

        Raises
        ------
        ContractError
            If a field is missing or malformed.
        """
        try:
            actions = {name: ActionWeight(**w) for name, w in stored["actions"].items()}  # type: ignore[attr-defined]
            return cls(
                actions,
                float(stored["rating_scale"]),  # type: ignore[arg-type]
                float(stored["rating_threshold"]),  # type: ignore[arg-type]
                float(stored.get("rating_dislike", 0.0)),  # type: ignore[arg-type]  # before it was known, none did
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ContractError(f"action weights {stored!r}: {error}; expected what `to_json` writes") from error


def taken_back(item: npt.NDArray[np.integer], weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a history's weights after what was taken back: a removal leaves no interest, and is no dislike.

    A weight below 0 takes back the newest earlier one of the same item and the same strength, once; both become 0.
    Adding to a watchlist and removing again thus counts for nothing, and having watched the item goes on counting. A
    low rating has a strength of its own and takes nothing back: that the user looked at the item stays true, and so
    does the dislike.

    Parameters
    ----------
    item
        The events' items (or users and items in one number), newest first.
    weight
        float32, their weights.

    >>> taken_back(np.array([7, 7, 8, 7]), np.array([-2, 0.5, 2, 2], np.float32))
    array([0. , 0.5, 2. , 0. ], dtype=float32)
    """
    removals = weight < 0
    if not removals.any():
        return weight
    settled = weight.copy()
    standing: dict[tuple[int, float], list[int]] = {}
    for row in np.flatnonzero(np.isin(item, item[removals]))[::-1].tolist():
        strength = float(weight[row])
        earlier = standing.setdefault((int(item[row]), abs(strength)), [])
        if strength > 0:
            earlier.append(row)
        elif strength < 0 and earlier:
            settled[[row, earlier.pop()]] = 0
    return settled


def rating_scale(largest: float) -> float:
    """Return the rating scale that data with this largest rating follows.

    >>> rating_scale(4.5), rating_scale(9.0), rating_scale(250.0)
    (5.0, 10.0, 250.0)
    """
    return next((scale for scale in RATING_SCALES if largest <= scale), largest)
