"""Action weights that data's shape leads to, where a file does not say them.

Found from two things that every table of events tells cheaply: how often each action occurs, and the largest rating.

- *Scale of ratings*: the smallest common scale that holds `USUAL` of them: anyone may send a rating of a million.
- *Rare actions weigh more*: people look often and commit seldom. Where the most frequent action is n times as frequent
  as a strong one (cart, purchase, favorite, rating, watch ...), the strong one weighs sqrt(n) times what it weighs
  alone, as a power of two and at most `LARGEST_FACTOR`, once there are enough of it. A look (view, click) never
  weighs more than it does alone.
  Where there is one action only, everything weighs what `DEFAULT_ACTIONS` says.

Statistics are computed with weights, so weights must not move with every event: powers of two of a root change only
when a ratio has grown or shrunk fourfold, and a factor once found stays until the ratio is well beyond its bounds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from features.contracts.weights import DEFAULT_ACTIONS, ActionWeight, ActionWeights, rating_scale
from features.contracts.weights_file import SaidWeights

LARGEST_FACTOR: Final = 8.0
"""How many times as much as alone a rare action may weigh."""

ENOUGH: Final = 30
ENOUGH_OF: Final = 1_000
"""Events of an action, or one in how many of the most frequent one, from which it may weigh more than alone: a like
among 100,000 ratings tells of no rarity yet, and for every change statistics are computed anew."""

USUAL: Final = 0.98
"""Share of ratings that the scale holds: one of fifty may be beyond it."""

_STAY: Final = 0.65
"""A factor stays while its logarithm to base 2 is this near; above 0.5, so that it does not flicker at a bound."""


@dataclass(frozen=True, slots=True)
class DataShape:
    """What is counted of events: how many there are of each action, and the largest usual rating, 0 without any.

    That is the smallest one which a share of `USUAL` do not exceed.
    """

    events: Mapping[str, int] = field(default_factory=dict)
    largest_rating: float = 0.0

    def __add__(self, other: "DataShape") -> "DataShape":
        """Return the shape of both sets of events together."""
        names = sorted({*self.events, *other.events})
        events = {name: self.events.get(name, 0) + other.events.get(name, 0) for name in names}
        return DataShape(events, max(self.largest_rating, other.largest_rating))


def weights_for(
    shape: DataShape, said: SaidWeights | None = None, before: ActionWeights | None = None
) -> ActionWeights:
    """Return the weights for data of a shape.

    Parameters
    ----------
    shape
        What is counted of the data.
    said
        What a file says; it goes before what is found.
    before
        The weights found last, which stay where the shape does not clearly ask for others.

    >>> found = weights_for(DataShape({"view": 1000, "cart": 100, "purchase": 30}))
    >>> [found.actions[name].base for name in ("view", "cart", "purchase")]
    [1.0, 4.0, 8.0]
    """
    said = said or SaidWeights()
    actions = {name: _found(name, weight, shape, said, before) for name, weight in DEFAULT_ACTIONS.items()}
    actions |= {name: ActionWeight(one.rule, one.base, strong=one.strong) for name, one in said.actions.items()}
    scale = said.rating_scale or (rating_scale(shape.largest_rating) if shape.largest_rating > 0 else 5.0)
    default = ActionWeights()
    return ActionWeights(
        actions=actions,
        rating_scale=scale,
        rating_threshold=default.rating_threshold if said.rating_threshold is None else said.rating_threshold,
        rating_dislike=default.rating_dislike if said.rating_dislike is None else said.rating_dislike,
    )


def why(name: str, shape: DataShape, weights: ActionWeights, said: SaidWeights) -> str:
    """Return in a few words why an action weighs what it does."""
    weight = weights.actions.get(name)
    if weight is None:
        return "unknown: weighs nothing; name it in the file of weights if it should"
    if name in said.actions:
        return "by the file of weights"
    if weight.base == DEFAULT_ACTIONS[name].base:
        return "default" if weight.strong or weight.base < 0 else "default: a look"
    most, count = _most_frequent(shape), shape.events.get(name, 0)
    return f"default {DEFAULT_ACTIONS[name].base:g}; {shape.events[most]} {most} to {count} {name}"


def _found(
    name: str, weight: ActionWeight, shape: DataShape, said: SaidWeights, before: ActionWeights | None
) -> ActionWeight:
    count = shape.events.get(name, 0)
    if not (said.rare_weighs_more and weight.strong and is_enough(name, shape)):
        return weight
    wanted = min(max(math.log2(shape.events[_most_frequent(shape)] / count) / 2, 0.0), math.log2(LARGEST_FACTOR))
    last = before.actions.get(name) if before is not None else None
    stays = last is not None and last.base > 0 and abs(math.log2(last.base / weight.base) - wanted) <= _STAY
    exponent = round(math.log2(last.base / weight.base)) if last is not None and stays else math.floor(wanted + 0.5)
    return replace(weight, base=weight.base * 2.0**exponent)


def is_enough(name: str, shape: DataShape) -> bool:
    """Return whether there are enough events of an action to say how rare it is."""
    count = shape.events.get(name, 0)
    return count > 0 and (count >= ENOUGH or shape.events[_most_frequent(shape)] <= count * ENOUGH_OF)


def _most_frequent(shape: DataShape) -> str:
    """Return the most frequent action among those that show liking."""
    liking = {name: count for name, count in shape.events.items() if _shows_liking(name)}
    return max(liking, key=lambda name: (liking[name], name))


def _shows_liking(name: str) -> bool:
    weight = DEFAULT_ACTIONS.get(name)
    return weight is not None and weight.base > 0
