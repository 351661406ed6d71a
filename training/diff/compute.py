"""Comparing two versions on the users and the catalogue of a snapshot."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from training.data import Interactions
from training.diff.agreement import overlap, rank_biased_overlap
from training.diff.exposure import Items, exposure_of
from training.diff.judged import judge
from training.diff.result import Agreement, Diff, Pair, Place
from training.diff.sample import Sample, sample_users
from training.diff.sides import Catalogue, Lists, Side, Together
from training.diff.speed import measure
from training.evaluation.methods import K
from training.evaluation.popularity import TOP, ItemPopularity
from training.evaluation.resampling import estimate_all
from training.frames import Loaded, load_categories, load_titles
from training.judging import in_items_of
from training.metrics import Floats
from training.progress import Progress, silent

USERS: Final = 300
SHOWN_PER_SEGMENT: Final = 2
_HISTORY: Final = 6


@dataclass(frozen=True, eq=False)
class Data:
    """What two versions are compared on: interactions, the file of items, and in words where they come from."""

    loaded: Loaded
    items_file: Path
    words: str


def diff_of(
    sides: tuple[Side, Side], data: Data, *, users: int = USERS, seed: int = 0, progress: Progress = silent
) -> Diff:
    """Return what is different between two versions; the same data and seed give the same, but for the times."""
    together = Together.of(sides[0].bundle.items, sides[1].bundle.items)
    catalogue = Catalogue(load_titles(data.items_file), load_categories(data.items_file, together.ids))
    interactions = data.loaded.interactions
    sample = sample_users(interactions, users, seed)
    as_of_us = int(interactions.at_us[-1]) + 1
    histories, found = [], []
    for side in sides:
        progress(f"lists of {len(sample)} users by {side.name}")
        histories.append(side.history(data.loaded))
        found.append(side.recommend(histories[-1], sample.users, as_of_us, K))
    known = in_items_of(interactions, together.ids)
    progress("what is shown")
    both = (found[0], found[1])
    exposure = exposure_of(sides, both, Items(together, catalogue, ItemPopularity.of(known)), seed)
    progress("judging on what neither was fitted on")
    verdicts = judge(sides, together, data.loaded, data.items_file, seed)
    progress("time of one list")
    speed = measure(sides, (histories[0], histories[1]), sample.users, as_of_us, K)
    lists = (together.lists(both[0], 0), together.lists(both[1], 1))
    shared = overlap(*lists, TOP)
    return Diff(
        sides=sides,
        data=data.words,
        sample=sample,
        overlaps=shared,
        agreement=_agreements(sample, shared, rank_biased_overlap(*lists), seed),
        exposure=exposure,
        verdicts=verdicts,
        speed=speed,
        pairs=_pairs(sample, lists, shared, known, _Names(together, catalogue)),
    )


def _agreements(sample: Sample, shared: Floats, biased: Floats, seed: int) -> list[Agreement]:
    masks = {"all users": np.ones(len(sample), dtype=bool)}
    masks |= {name: sample.segment == number for number, name in enumerate(sample.names)}
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    columns = {}
    for name, mask in masks.items():
        columns[name, "overlap"] = np.where(mask, shared, np.nan)
        columns[name, "biased"] = np.where(mask, biased, np.nan)
    found = estimate_all(columns, seed)
    return [
        Agreement(name, int(mask.sum()), found[name, "overlap"], found[name, "biased"]) for name, mask in masks.items()
    ]


@dataclass(frozen=True, eq=False)
class _Names:
    """Titles of items in the common space."""

    together: Together
    catalogue: Catalogue

    def of(self, items: npt.NDArray[np.integer]) -> list[str]:
        return list(self.catalogue.named(self.together.ids, items))


def _pairs(
    sample: Sample, lists: tuple[Lists, Lists], shared: Floats, known: Interactions, names: _Names
) -> list[Pair]:
    """Return the lists of some users of each segment, whether they agree or not."""
    order, offsets = known.by_user
    some = [
        user
        for segment in range(len(sample.names))
        for user in np.flatnonzero(sample.segment == segment)[:: _every(sample, segment)][:SHOWN_PER_SEGMENT].tolist()
    ]
    pairs = []
    for user in some:
        number = sample.users[user]
        rows = order[offsets[number] : offsets[number + 1]][::-1][:_HISTORY]
        first, second = (found[user, :TOP][found[user, :TOP] != MISSING] for found in lists)
        pairs.append(
            Pair(
                segment=sample.names[int(sample.segment[user])],
                events=int(sample.events[user]),
                history=names.of(known.item[rows]),
                first=_places(first, second, names),
                second=_places(second, first, names),
                overlap=float(shared[user]),
            )
        )
    return pairs


def _every(sample: Sample, segment: int) -> int:
    """Return the step that spreads the users shown over those of a segment."""
    return max(int((sample.segment == segment).sum()) // SHOWN_PER_SEGMENT, 1)


def _places(items: npt.NDArray[np.int32], other: npt.NDArray[np.int32], names: _Names) -> list[Place]:
    rank: dict[int, int] = {item: place for place, item in enumerate(other.tolist(), start=1)}
    return [Place(title, rank.get(item)) for title, item in zip(names.of(items), items.tolist(), strict=True)]
