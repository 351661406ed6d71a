"""A few judged users as a person sees them: what they had, what was recommended and why, and what they liked next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING, IdMap
from training.bundle.result import FILL
from training.bundle.sources import BY_NO_ITEM
from training.evaluate import Evaluation
from training.evaluation.methods import SERVED, title_of

PER_PART: Final = 2
"""Users shown of each third of the judged by length of history."""
_HISTORY: Final = 8
_PLACES: Final = 10


@dataclass(frozen=True, slots=True)
class Shown:
    """One place of a list: title, the source that ranked it best, the item of the history behind it, and if it hit.

    There is no such item where the source does not look at single ones (`BY_NO_ITEM`).
    """

    title: str
    source: str
    because: str | None
    hit: bool


@dataclass(frozen=True, slots=True)
class Example:
    """One user: latest history newest first, the list, how many items were liked later, and those that were missed."""

    user: str
    events: int
    history: Sequence[str]
    places: Sequence[Shown]
    liked_later: int
    missed: Sequence[str]

    @property
    def hits(self) -> int:
        """Return how many places of the list were liked."""
        return sum(place.hit for place in self.places)


def examples(evaluation: Evaluation, items: IdMap, titles: Mapping[str, str], sources: Sequence[str]) -> list[Example]:
    """Return users drawn at random, as many with short, middling and long histories, whether their lists hit or not."""
    length = evaluation.judged.history_length
    by_length = np.argsort(length, kind="stable")
    rng = np.random.default_rng(evaluation.seed)
    picked = [
        int(user)
        for part in np.array_split(by_length, 3)
        for user in np.sort(rng.permutation(part)[:PER_PART]).tolist()
    ]
    return [_example(evaluation, user, items, titles, sources) for user in picked]


def _example(
    evaluation: Evaluation, user: int, items: IdMap, titles: Mapping[str, str], sources: Sequence[str]
) -> Example:
    judged = evaluation.judged
    order, offsets = judged.history.by_user
    rows = order[offsets[judged.users[user]] : offsets[judged.users[user] + 1]][::-1]
    labels = judged.labels[user]
    served = evaluation.lists[SERVED][user, :_PLACES]
    return Example(
        user=judged.history.users.external(judged.users[user : user + 1])[0],
        events=len(rows),
        history=_named(judged.history.item[rows[:_HISTORY]], items, titles),
        places=[
            Shown(
                _named(served[place : place + 1], items, titles)[0],
                title_of(source := _source(int(evaluation.source[user, place]), sources)),
                _cause(source, evaluation.because[user, place : place + 1], items, titles),
                bool(served[place] in labels),
            )
            for place in np.flatnonzero(served != MISSING).tolist()
        ],
        liked_later=len(labels),
        missed=_named(labels[~np.isin(labels, served)], items, titles),
    )


def _source(number: int, sources: Sequence[str]) -> str:
    return FILL if number == MISSING else sources[number]


def _cause(source: str, because: npt.NDArray[np.int32], items: IdMap, titles: Mapping[str, str]) -> str | None:
    return None if source in BY_NO_ITEM else next(iter(_named(because, items, titles)), None)


def _named(found: npt.NDArray[np.int32], items: IdMap, titles: Mapping[str, str]) -> list[str]:
    return [titles.get(item, item) for item in items.external(found[found != MISSING])]
