"""Places for what nobody has met that are drawn by lot: each may come, and how likely it was is told truly."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts.profiles import Options
from tests.property.test_arrivals import NOBODY, answer, fans, some_arrivals
from tests.support.synthetic import trained, trained_on_texts
from training.bundle.arrivals import grown
from training.bundle.exploration import Draw, draw_of, with_drawn, with_fresh
from training.bundle.parts import Parts

K = 10
FRESH = 12


def lists(share: float, seeds: int, proposed: int) -> tuple[list[list[int]], list[list[float]]]:
    """Return what stands in the places for exploration of a list of `K` with half of them, and its chance, by seed.

    Of 24 candidates the last `FRESH` are fresh, the first of these already in the list; the first few are proposed.
    """
    scores, items = -np.arange(24.0), np.arange(24, dtype=np.int32)
    fresh = items >= 24 - FRESH
    order = np.array([0, 1, 2, 3, 24 - FRESH, 4, 5, 6, 7, 8])
    known = items < 24 - FRESH + proposed
    found, chances = [], []
    for seed in range(seeds):
        draw = draw_of(items[fresh], K, K // 2, share, str(seed))
        mixed, chance = with_drawn(order, items, scores, fresh=fresh, proposed=known, share=0.5, draw=draw)
        explored = ~np.isnan(chance)
        assert len(set(mixed.tolist())) == K
        assert fresh[mixed[explored]].all()
        found.append(mixed[explored].tolist())
        chances.append(chance[explored].tolist())
    return found, chances


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_items_come_as_often_as_they_are_said_to(share: float) -> None:
    found, chances = lists(share, 4000, proposed=8)
    assert {len(one) for one in found} == {K // 2 - 1}
    for place in range(K // 2 - 1):
        # One over the chance is worth, on average, as many as might have come; each of them 1 where it might.
        worth = np.array([1 / chance[place] for chance in chances])
        assert abs(worth.mean() - (FRESH - 1 - place)) <= 4 * worth.std() / np.sqrt(len(worth)) + 1e-9
    first = Counter(one[0] for one in found)
    assert set(first) == set(range(24 - FRESH + 1, 24))
    told = {one[0]: chance[0] for one, chance in zip(found, chances, strict=True)}
    for item, count in first.items():
        assert abs(count / 4000 - told[item]) < 4 * np.sqrt(told[item] / 4000)
    assert sum(told.values()) == pytest.approx(1)


def test_without_the_lot_the_best_stand_there() -> None:
    found, chances = lists(0.0, 3, proposed=8)
    assert found == 3 * [list(range(24 - FRESH + 1, 24 - FRESH + 5))]
    assert chances == 3 * [[1.0] * 4]


def test_where_too_few_are_proposed_the_lot_alone_fills_places() -> None:
    found, chances = lists(0.5, 200, proposed=2)  # one of them stands in the list
    assert {len(one) for one in found} == {1, 2, 3, 4}
    assert all(one[0] == 24 - FRESH + 1 or chance[0] < 0.1 for one, chance in zip(found, chances, strict=True))


@given(st.integers(0, 30), st.floats(0, 1), st.floats(0, 1), st.text(max_size=5))
@settings(max_examples=60)
def test_a_drawn_list_has_the_places_of_one_that_is_not(n_fresh: int, share: float, lot: float, seed: str) -> None:
    items = np.arange(40, dtype=np.int32)
    scores = np.sin(np.arange(40.0))
    fresh = items < n_fresh
    order = np.argsort(-scores, kind="stable")[:K]
    draw, every = draw_of(items[fresh], K, K, lot, seed), np.ones(40, dtype=bool)
    drawn, _ = with_drawn(order, items, scores, fresh=fresh, proposed=every, share=share, draw=draw)
    best = with_fresh(order, scores, fresh, share)
    assert len(set(drawn.tolist())) == K
    assert fresh[drawn].tolist() == fresh[best].tolist()
    assert drawn[~fresh[drawn]].tolist() == best[~fresh[best]].tolist()


def many_new() -> Parts:
    return grown(trained_on_texts()[1], some_arrivals(trained_on_texts()[1], 60))


def asked(seed: str, **changes: object) -> Options:
    return Options(**{"k": 20, "fresh_share": 1.0, "fresh_draw": 1.0, "seed": seed, **changes})  # type: ignore[arg-type]


def test_whatever_nobody_met_may_come_and_nothing_else() -> None:
    parts = many_new()
    profiles = fans(parts)
    hidden = parts.fresh[:5]
    eligible = np.ones(len(parts.items), dtype=bool)
    eligible[hidden] = False
    come: set[int] = set()
    for seed in range(60):
        found = answer(parts, profiles, asked(str(seed), eligible=eligible, exclude=parts.fresh[5:7]))
        assert found.propensity is not None
        drawn = found.items[~np.isnan(found.propensity)]
        assert np.isin(drawn, parts.fresh[7:]).all()
        assert (np.isin(found.items, parts.fresh).sum(axis=1) == 20).all()
        assert all(len(set(row)) == 20 for row in found.items.tolist())
        sources = found.sources[~np.isnan(found.propensity)]
        assert (sources >= 0).all()
        come |= set(drawn.tolist())
    assert come == set(parts.fresh[7:].tolist())


def test_one_seed_draws_the_same_and_others_draw_otherwise() -> None:
    parts = many_new()
    one, same, other = (answer(parts, fans(parts), asked(seed)) for seed in ("a", "a", "b"))
    np.testing.assert_array_equal(one.items, same.items)
    np.testing.assert_array_equal(one.propensity, same.propensity)
    assert (one.items != other.items).any()
    assert answer(parts, NOBODY, asked("a")).propensity is not None


@pytest.mark.parametrize("changes", [{"fresh_draw": 0.0}, {"fresh_share": 0.0}])
def test_where_nothing_is_drawn_no_chance_is_told_and_the_list_is_as_ever(changes: dict[str, float]) -> None:
    parts = many_new()
    plain = answer(parts, fans(parts), asked("a", **{"fresh_draw": 0.0, **changes}))
    found = answer(parts, fans(parts), asked("a", **changes))
    assert found.propensity is None
    np.testing.assert_array_equal(found.items, plain.items)


@pytest.mark.parametrize("diversity", [0.0, 0.4])
def test_what_is_not_drawn_stands_as_it_does_without_the_lot(diversity: float) -> None:
    parts = many_new()
    plain = answer(parts, fans(parts), Options(k=20, diversity=diversity))
    for seed in range(20):
        found = answer(parts, fans(parts), asked(str(seed), fresh_share=0.9, diversity=diversity))
        assert found.propensity is not None
        for items, chances, others in zip(found.items, found.propensity, plain.items, strict=True):
            own = items[np.isnan(chances)]
            assert own.tolist() == others[np.isin(others, own)].tolist()
            assert len(own) + (~np.isnan(chances)).sum() == 20


def test_without_items_that_nobody_met_there_is_no_lot() -> None:
    parts = trained()[1]
    assert answer(parts, fans(parts), asked("a")).propensity is None


def test_candidates_of_ones_own_are_drawn_among() -> None:
    parts = many_new()
    own = np.concatenate((np.arange(30), parts.fresh[:20])).astype(np.int32)
    found = answer(parts, fans(parts), asked("a", candidates=np.unique(own), k=10))
    assert found.propensity is not None
    drawn = found.items[~np.isnan(found.propensity)]
    assert len(drawn)
    assert np.isin(drawn, parts.fresh[:20]).all()


def test_a_lot_asks_for_no_more_than_it_needs() -> None:
    pool = np.arange(1000, dtype=np.int32)
    draw: Draw = draw_of(pool, 10, 3, 1.0, "x")
    assert len(set(draw.items.tolist())) == len(draw.items) == 13
    assert not len(draw_of(pool, 10, 3, 0.0, "x").items)
