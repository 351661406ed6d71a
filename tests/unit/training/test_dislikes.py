"""What a dislike does to a list: items that read like the disliked one stand lower, whatever rankers learned of it."""

from dataclasses import replace

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from features.contracts.profiles import Options, Profiles
from tests.support.synthetic import N_GROUPS, trained_on_texts
from training.bundle.content import NEAR_DISLIKED, nearness_to_disliked
from training.bundle.dislikes import LIST, moved_down
from training.bundle.fusion import order_scores
from training.bundle.offered import SPEC
from training.bundle.plan import BLEND
from training.bundle.recommender import Recommender
from training.bundle.result import Recommendations
from training.bundle.sources import SOURCES, User
from training.data import Interactions
from training.dislike_fit import FEWEST, STRENGTHS, strength_of_dislikes
from training.groups import Group

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


def ranked(
    profiles: Profiles, dislike: float = 1.0, candidates: npt.NDArray[np.int32] | None = None
) -> Recommendations:
    _, asked, _ = recommender(dislike)
    _, parts = trained_on_texts()
    statistics = parts.state.at(parts.closed_at_us)
    moment = max(parts.closed_at_us, int(profiles.at_us.max(initial=0)) + 1)
    return asked.recommend(profiles, statistics, moment, Options(k=80, candidates=candidates), trace=True)


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
    known = ~without.unmet
    lost = np.sort(without.scores[known])[-LIST:].std() * np.maximum(near, 0)
    assert with_rule.scores[known] == pytest.approx((without.scores - lost)[known])
    assert (with_rule.scores <= without.scores + 1e-9).all(), "those of new items by how wide these are"
    assert (near[without.candidates % 9 == 0] == 0).all()


def test_a_dislike_tells_of_new_items_that_read_like_it_and_of_no_others() -> None:
    interactions, parts = trained_on_texts()
    _, asked, _ = recommender(1.0)
    view = asked.view(parts.state.at(parts.closed_at_us))
    options = Options(k=10, candidates=asked.fresh)
    both = (history(interactions, likes=True, dislike=dislike) for dislike in (True, False))
    (found, told), (_, untold) = (asked.fresh_candidates(profiles, 0, view, options) for profiles in both)
    near = told[:, SPEC.names.index(NEAR_DISLIKED)]
    others = np.array([name != NEAR_DISLIKED for name in SPEC.names])
    np.testing.assert_allclose(told[:, others], untold[:, others], rtol=1e-6)
    alike = found.items % N_GROUPS == DISLIKED % N_GROUPS
    assert near[alike].min() > near[~alike].max()


def test_a_dislike_moves_its_like_down_where_all_candidates_are_new() -> None:
    interactions, _ = trained_on_texts()
    _, asked, _ = recommender(1.0)
    lists = [
        ranked(history(interactions, likes=True, dislike=dislike), candidates=asked.fresh) for dislike in (False, True)
    ]
    before, after = (mean_place(found, DISLIKED % N_GROUPS) for found in lists)
    assert after > before


def test_who_dislikes_nothing_is_told_nothing_of_it() -> None:
    interactions, parts = trained_on_texts()
    profiles = history(interactions, likes=True, dislike=False)
    assert parts.content is not None
    assert nearness_to_disliked(parts.content, User(profiles.item, profiles.weight, None), profiles.item) is None
    assert (ranked(profiles).items == ranked(profiles, dislike=0.0).items).all()


def test_ranks_move_by_places_of_a_list_and_not_of_all_candidates() -> None:
    """Most candidates have next to no score where a single source orders them."""
    ranks = np.full((200, len(SOURCES)), np.nan, dtype=np.float32)
    ranks[:50, 0] = np.arange(1, 51)
    ranks[:, 1] = np.arange(200, 0, -1)
    scores = order_scores(ranks, SOURCES[0])
    near = np.where(np.arange(200) == 0, 1.0, 0.0).astype(np.float32)
    moved = np.argsort(-moved_down(scores, near, 1.0), kind="stable")
    assert 2 <= int(np.flatnonzero(moved == 0)[0]) <= 10


def test_where_there_are_no_candidates_none_moves() -> None:
    assert not len(moved_down(np.empty(0), np.empty(0, np.float32), 1.0))


def group(near: npt.NDArray[np.float32], liked: int) -> tuple[Group, npt.NDArray[np.float64]]:
    """Return thirty candidates of which one is liked, in the order of their scores."""
    rows = np.full((30, len(SPEC.names)), np.nan, dtype=np.float32)
    rows[:, SPEC.names.index(NEAR_DISLIKED)] = near
    ranks = np.full((30, len(SOURCES)), np.nan, dtype=np.float32)
    ranks[:, 0] = np.arange(1, 31)
    gain = np.zeros(30, dtype=np.float32)
    gain[liked] = 1.0
    return Group(rows, ranks, gain, 1), order_scores(ranks, BLEND)


@pytest.mark.parametrize(
    ("liked", "lists", "strength"),
    [(3, FEWEST, STRENGTHS[0]), (0, FEWEST, STRENGTHS[-1]), (3, FEWEST - 1, STRENGTHS[-1])],
    ids=["others are liked", "the like of it is liked", "too few lists to tell"],
)
def test_dislikes_move_items_as_far_down_as_costs_nothing(liked: int, lists: int, strength: float) -> None:
    near = np.where(np.arange(30) == 0, 0.9, 0.0).astype(np.float32)
    groups, scores = zip(*[group(near, liked) for _ in range(lists)], strict=True)
    assert strength_of_dislikes(groups, scores) == strength
