import numpy as np
import pytest

from features.items import Categories
from tests.support.synthetic import make_interactions, with_stray
from tests.unit.training.test_neighbours import dense
from tests.unit.training.test_split_and_moments import rows
from training.content import category_table
from training.following import SHRINK, Following, following_table

STEPS = rows((0, 0, 1, 1.0), (0, 1, 2, 1.0), (0, 3, 3, 0.0), (0, 2, 4, 1.0))
"""One user likes items 0, 1 and 2; item 3, not liked, is no step between."""


def test_what_follows_goes_in_one_direction_and_prefers_the_nearer() -> None:
    found = dense(following_table(STEPS, Following(steps=2, decay=0.5)))
    out = 1 + 0.5 + SHRINK
    np.testing.assert_allclose(found[0], [0, 1 / out, 0.5 / out, 0], rtol=1e-3)
    assert found[2].sum() == 0


def test_what_is_near_goes_both_ways() -> None:
    found = dense(following_table(STEPS, Following(steps=1, decay=1.0, back=0.5)))
    assert found[0, 1] == pytest.approx(1 / (1 + SHRINK), rel=1e-3)
    assert found[1, 0] == pytest.approx(0.5 / (1.5 + SHRINK), rel=1e-3)
    assert found[0, 2] == 0


def test_what_was_taken_back_is_no_step() -> None:
    taken_back = rows((0, 0, 1, 1.0), (0, 1, 2, 2.0), (0, 2, 3, 1.0), (0, 1, 4, -2.0))
    found = dense(following_table(taken_back, Following(steps=1, decay=1.0)))
    np.testing.assert_allclose(found[0], [0, 0, 1 / (1 + SHRINK)], rtol=1e-3)
    assert found[1].sum() == 0


def test_a_half_life_lets_old_pairs_fade() -> None:
    old_and_new = rows((0, 0, 0, 1.0), (0, 1, 1, 1.0), (1, 0, 99, 1.0), (1, 2, 100, 1.0))
    found = dense(following_table(old_and_new, Following(steps=1, decay=1.0, half_life=0.5)))
    assert found[0, 2] == pytest.approx(found[0, 1] * 2 ** (99 / 50), rel=1e-2)


def test_one_old_event_makes_no_pair_look_new() -> None:
    interactions, lately = make_interactions(), Following(steps=4, decay=1.0, half_life=0.1)
    found, expected = (dense(following_table(rows, lately)) for rows in (with_stray(interactions), interactions))
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=1e-3)


def test_no_weight_comes_from_other_users() -> None:
    interactions = make_interactions(n_users=2, n_items=8, per_user=3)
    found = dense(following_table(interactions, Following(steps=8, decay=1.0)))
    for item in range(8):
        users = set(interactions.user[interactions.item == item].tolist())
        followed = set(np.flatnonzero(found[item]).tolist())
        assert all(users & set(interactions.user[interactions.item == other].tolist()) for other in followed)


def test_items_of_the_same_rare_category_are_nearest() -> None:
    # 0: drama and opera; 1: drama; 2: opera; 3, 4, 5: drama; 6: none
    categories = Categories(
        ("drama", "opera"), np.array([0, 2, 3, 4, 5, 6, 7, 7]), np.array([0, 1, 0, 1, 0, 0, 0], np.int32)
    )
    found = dense(category_table(categories, np.array([5, 5, 5, 5, 1, 5, 5])))
    assert found[0, 2] > found[0, 1] > found[0, 4] > 0, "rare before common, liked before less liked"
    assert found[6].sum() == found[:, 6].sum() == 0


def test_a_catalogue_without_categories_has_no_neighbours() -> None:
    nothing = Categories((), np.zeros(4, np.int64), np.empty(0, np.int32))
    assert dense(category_table(nothing, np.ones(3, np.int64))).sum() == 0
