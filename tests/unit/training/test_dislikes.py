"""What a dislike does to a list: items that read like the disliked one stand lower, whatever rankers learned of it."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from features.contracts.profiles import Options, Profiles
from tests.support.synthetic import N_GROUPS, trained_on_texts
from training.bundle.content import nearness_to_disliked
from training.bundle.recommender import Recommender
from training.bundle.result import Recommendations
from training.bundle.sources import User
from training.data import Interactions

DISLIKED = 5
"""Of group 1, and with a text."""


def history(interactions: Interactions, *, likes: bool, dislike: bool) -> Profiles:
    """Return one user who likes items of all groups, if any, and at last dislikes one."""
    at_us = int(interactions.at_us[-1])
    liked = [12, 10, 15, 17, 24, 14] if likes else []
    item = np.array([*([DISLIKED] if dislike else []), *liked], dtype=np.int32)
    weight = np.array([*([-1.0] if dislike else []), *(1.0 for _ in liked)], dtype=np.float32)
    seen = np.sort(np.append(item, [] if dislike else [DISLIKED])).astype(np.int32)
    return Profiles(
        user_ids=("u",),
        offsets=np.array([0, len(item)]),
        item=item,
        weight=weight,
        at_us=np.arange(at_us, at_us - len(item), -1, dtype=np.int64),
        seen_offsets=np.array([0, len(seen)]),
        seen_item=seen,
    )


def recommender(dislike: float) -> tuple[Interactions, Recommender, int]:
    interactions, parts = trained_on_texts()
    plan = msgspec.structs.replace(parts.plan, dislike=dislike)
    return interactions, replace(parts, plan=plan).recommender(), parts.closed_at_us


def ranked(profiles: Profiles, dislike: float = 1.0) -> Recommendations:
    _, asked, _ = recommender(dislike)
    _, parts = trained_on_texts()
    statistics = parts.state.at(parts.closed_at_us)
    moment = max(parts.closed_at_us, int(profiles.at_us.max(initial=0)) + 1)
    return asked.recommend(profiles, statistics, moment, Options(k=80), trace=True)


def mean_place(found: Recommendations, group: int) -> float:
    items = found.items[0][found.items[0] >= 0]
    return float(np.flatnonzero((items % N_GROUPS == group) & (items % 9 != 0)).mean())


@pytest.mark.parametrize("likes", [True, False])
def test_what_reads_like_a_disliked_item_stands_lower(*, likes: bool) -> None:
    interactions, _ = trained_on_texts()
    before = ranked(history(interactions, likes=likes, dislike=False))
    after = ranked(history(interactions, likes=likes, dislike=True))
    assert mean_place(after, DISLIKED % N_GROUPS) > mean_place(before, DISLIKED % N_GROUPS) + 5
    assert DISLIKED not in after.items[0]


def test_scores_fall_by_how_much_a_text_is_alike_and_no_others_do() -> None:
    interactions, parts = trained_on_texts()
    profiles = history(interactions, likes=True, dislike=True)
    [with_rule], [without] = ranked(profiles).traces, ranked(profiles, dislike=0.0).traces
    assert parts.content is not None
    near = nearness_to_disliked(parts.content, User(profiles.item, profiles.weight, None), without.candidates)
    assert near is not None
    known = without.scores[~without.unmet]
    assert with_rule.scores == pytest.approx(without.scores - known.std() * np.maximum(near, 0))
    assert (near[without.candidates % 9 == 0] == 0).all()


def test_who_dislikes_nothing_is_told_nothing_of_it() -> None:
    interactions, parts = trained_on_texts()
    profiles = history(interactions, likes=True, dislike=False)
    assert parts.content is not None
    assert nearness_to_disliked(parts.content, User(profiles.item, profiles.weight, None), profiles.item) is None
    assert (ranked(profiles).items == ranked(profiles, dislike=0.0).items).all()
