"""Items without a history: they stand in lists by their texts, whether a bundle was made with them or took them up."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from features.contracts.errors import ContractError
from features.contracts.facts import ItemFacts
from features.contracts.ids import MISSING
from features.contracts.profiles import Options, Profiles
from features.contracts.ragged import offsets_of
from features.contracts.statistics import ItemStatistics
from tests.support.synthetic import N_GROUPS, make_texts, trained, trained_on_texts
from training.bundle.arrivals import Arrivals, grown
from training.bundle.content import content_columns, content_features
from training.bundle.exploration import places_of, with_fresh
from training.bundle.fresh import merged
from training.bundle.likeness import similar_items
from training.bundle.parts import Parts
from training.bundle.result import Recommendations, Trace
from training.bundle.sources import CONTENT, FRESH, PROMISED, FreshSource, PromisedSource, User
from training.bundle.tables import NeighbourTable

FANS = 8


def profiles_of(lists: list[list[int]], newest_us: int) -> Profiles:
    """Return users who liked some items, the first of each list last."""
    counts = [len(entry) for entry in lists]
    item = np.array([one for entry in lists for one in entry], dtype=np.int32)
    ago = np.concatenate([np.empty(0, np.int64), *(np.arange(count) for count in counts)])
    return Profiles(
        user_ids=tuple(f"u{number}" for number in range(len(lists))),
        offsets=offsets_of(counts),
        item=item,
        weight=np.ones(len(item), dtype=np.float32),
        at_us=newest_us - ago * 1_000_000,
        seen_offsets=offsets_of(counts),
        seen_item=np.concatenate([np.empty(0, np.int32), *(np.sort(np.array(e, np.int32)) for e in lists)]),
    )


def fans(parts: Parts) -> Profiles:
    """Return users who liked some items of one group each."""
    lists = [[user % N_GROUPS + N_GROUPS * step for step in range(1, 6)] for user in range(FANS)]
    return profiles_of(lists, parts.closed_at_us - 1)


def answer(parts: Parts, profiles: Profiles, options: Options) -> Recommendations:
    statistics = parts.state.at(parts.closed_at_us, has_clock=parts.has_clock)
    return parts.recommender().recommend(profiles, statistics, parts.closed_at_us, options)


def some_arrivals(parts: Parts, count: int = 12) -> Arrivals:
    """Return items of all groups by text, in categories that are known and one that is not."""
    groups = np.arange(1, count + 1) % N_GROUPS
    known = make_texts().vectors.astype(np.float32)
    vectors = np.array([known[next(item for item in range(70) if item % N_GROUPS == g and item % 9)] for g in groups])
    categories = [[f"g{g}", "brand new"] for g in groups]
    assert parts.content is not None
    return Arrivals([f"new{n}" for n in range(count)], vectors, categories, ItemFacts.unknown(count))


def test_items_without_a_history_are_those_that_nobody_met_and_that_have_a_text() -> None:
    interactions, parts = trained_on_texts()
    unmet = np.setdiff1d(np.arange(80), interactions.item)
    assert parts.content is not None
    assert parts.fresh.tolist() == [item for item in unmet.tolist() if parts.content.has_text[item]]
    assert len(parts.fresh) > 5
    assert trained()[1].fresh.size == 0
    assert {trained()[1].plan.budgets[name] for name in (FRESH, PROMISED, CONTENT)} == {0}


def test_the_map_puts_an_unmet_item_before_users_who_like_its_kind() -> None:
    _, parts = trained_on_texts()
    own = [
        int(item) % N_GROUPS == user % N_GROUPS
        for user, items in enumerate(answer(parts, fans(parts), Options(k=2, eligible=unmet(parts))).items)
        for item in items
        if item != MISSING
    ]
    assert np.mean(own) >= 0.75


def unmet(parts: Parts) -> npt.NDArray[np.bool_]:
    mask = np.zeros(len(parts.items), dtype=bool)
    mask[parts.fresh] = True
    return mask


def test_what_a_bundle_knew_is_answered_as_before_when_it_has_grown() -> None:
    _, parts = trained_on_texts()
    larger = grown(parts, some_arrivals(parts))
    allowed = np.arange(len(larger.items)) < len(parts.items)
    before, after = answer(parts, fans(parts), Options()), answer(larger, fans(parts), Options(eligible=allowed))
    np.testing.assert_array_equal(before.items, after.items)
    np.testing.assert_array_equal(before.scores, after.scores)


def test_arrivals_come_to_those_who_like_their_kind_and_are_listed_as_of_no_history() -> None:
    _, parts = trained_on_texts()
    larger = grown(parts, some_arrivals(parts))
    only = np.arange(len(larger.items)) >= len(parts.items)
    found = answer(larger, fans(parts), Options(k=3, eligible=only))
    groups = (found.items - len(parts.items) + 1) % N_GROUPS
    assert (groups == (np.arange(FANS) % N_GROUPS)[:, None]).mean() > 0.8
    assert larger.categories.names[-1] == "brand new"
    assert np.isnan(larger.facts.price[-1])
    assert np.isin(np.flatnonzero(only), larger.fresh).all()


def test_arrivals_are_among_the_nearest_texts_of_what_they_read_like() -> None:
    _, parts = trained_on_texts()
    n_before = len(parts.items)
    larger = grown(parts, some_arrivals(parts))
    known = np.arange(len(larger.items)) < n_before
    for group in range(N_GROUPS):
        liked = np.array([item for item in range(n_before) if item % N_GROUPS == group and item % 9], dtype=np.int32)
        found, _ = larger.tables[CONTENT].best(liked, np.ones(len(liked)), known, 3)
        assert ((found - n_before + 1) % N_GROUPS).tolist() == [group] * 3


@given(st.integers(0, 2**32))
def test_rows_of_nearest_texts_hold_what_the_bundle_knew_and_the_arrivals_that_are_nearer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, parts = trained_on_texts()
    n_own, count, width = len(parts.items), 30, 3
    vectors = rng.integers(-3, 4, (n_own + count, 16)) / 16  # what they have in common is exact in half precision
    arrivals = Arrivals([f"new{n}" for n in range(count)], vectors[n_own:], [[]] * count, ItemFacts.unknown(count))
    assert parts.content is not None
    near = vectors @ vectors.T
    np.fill_diagonal(near, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.bundle.arrivals.MAX_NEIGHBOURS", width)
        table = NeighbourTable.from_matrix(sparse.csr_matrix(np.maximum(near[:n_own, :n_own], 0)), width)
        bare = replace(
            parts,
            content=replace(parts.content, vectors=vectors[:n_own].astype(np.float16)),
            tables={**parts.tables, CONTENT: table},
        )
        once = grown(bare, arrivals).tables[CONTENT]
        steps = bare
        for part in (slice(7), slice(7, 8), slice(8, count)):
            size = len(arrivals.item_ids[part])
            some = Arrivals(arrivals.item_ids[part], arrivals.vectors[part], [[]] * size, ItemFacts.unknown(size))
            steps = grown(steps, some)
    np.testing.assert_array_equal(steps.tables[CONTENT].value, once.value)
    for row in range(n_own + count):
        entries = slice(once.offsets[row], once.offsets[row + 1])
        own = np.sort(near[row, :n_own])[::-1][:width]
        arrived = np.sort(near[row, n_own:])[::-1][:width]
        expected = np.sort(np.concatenate((own, arrived[arrived > own[-1]])))[::-1]
        np.testing.assert_array_equal(once.value[entries], expected)
        np.testing.assert_array_equal(near[row, once.index[entries]], expected)


def test_who_liked_arrivals_alone_gets_others_of_their_kind() -> None:
    _, parts = trained_on_texts()
    n_before, count = len(parts.items), 24
    larger = grown(parts, some_arrivals(parts, count))
    group = np.arange(1, count + 1) % N_GROUPS
    liked = [(np.flatnonzero(group == own)[:3] + n_before).tolist() for own in range(N_GROUPS)]
    only = np.arange(len(larger.items)) >= n_before
    found = answer(larger, profiles_of(liked, parts.closed_at_us - 1), Options(k=3, eligible=only))
    assert found.fallback_reason == (None,) * N_GROUPS
    assert (group[found.items - n_before] == np.arange(N_GROUPS)[:, None]).mean() > 0.8


def test_the_equations_of_fold_in_hold_no_item_without_a_history() -> None:
    _, parts = trained_on_texts()
    for some in (parts, grown(parts, some_arrivals(parts))):
        assert some.fold_in.held is not None
        np.testing.assert_array_equal(np.flatnonzero(~some.fold_in.held), some.fresh)
        known = some.fold_in.factors[some.fold_in.held]
        lacking = some.fold_in.gram - known.T @ known
        np.testing.assert_allclose(lacking, np.diag(np.full(len(lacking), lacking[0, 0])), atol=1e-3)


def test_arrivals_that_cannot_join_are_refused() -> None:
    _, parts = trained_on_texts()
    good = some_arrivals(parts)
    with pytest.raises(ContractError, match="16 dimensions"):
        grown(parts, replace(good, vectors=good.vectors[:, :3]))
    with pytest.raises(ContractError, match="repeated"):
        grown(parts, replace(good, item_ids=["i1", *good.item_ids[1:]]))
    with pytest.raises(ContractError, match="without content vectors"):
        grown(trained()[1], good)


@pytest.mark.parametrize("joins", [True, False])
def test_known_items_stand_in_one_order_whether_new_ones_join_them_or_not(joins: bool) -> None:  # noqa: FBT001
    _, parts = trained_on_texts()
    assert parts.plan.fresh is not None
    favoured = msgspec.structs.replace(parts.plan.fresh, offset=parts.plan.fresh.offset - 6, joins=joins)
    larger = grown(parts, some_arrivals(parts))
    larger = replace(larger, plan=msgspec.structs.replace(parts.plan, fresh=favoured))
    everything = answer(larger, fans(parts), Options(k=60))
    known = answer(parts, fans(parts), Options(k=60, eligible=~unmet(parts)))
    is_new = unmet(larger)[everything.items]
    assert is_new[:, :5].any() == joins
    for row in range(FANS):
        kept = everything.items[row][~is_new[row]]
        assert kept.tolist() == known.items[row][: len(kept)].tolist()
        assert joins or np.diff(is_new[row].astype(int)).min(initial=0) >= 0, "below all that are known"


def test_the_places_of_new_items_do_not_depend_on_how_many_there_are() -> None:
    _, parts = trained_on_texts()
    arrivals = some_arrivals(parts)
    alone = Arrivals(arrivals.item_ids[:1], arrivals.vectors[:1], arrivals.categories[:1], ItemFacts.unknown(1))
    scores: list[list[npt.NDArray[np.float32]]] = []
    for more in (alone, arrivals):
        larger = grown(parts, more)
        first = np.arange(len(larger.items)) == len(parts.items)
        scores.append([])
        for eligible in (first | ~unmet(larger), None):
            found = answer(larger, fans(parts), Options(k=80, eligible=eligible))
            scores[-1].append(found.scores[found.items == len(parts.items)])
        np.testing.assert_allclose(scores[-1][0], scores[-1][1], atol=1e-5)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


def test_what_has_had_events_since_stands_where_it_is_worth_more() -> None:
    known = _traced([2, 5, 9], [0.5, 0.1, 0.3])
    fresh = _traced([5, 7], [0.4, 0.2], shift=100)
    both = merged(known, fresh)
    assert both.candidates.tolist() == [2, 5, 7, 9]
    assert both.scores.tolist() == [0.5, 0.4, 0.2, 0.3]
    assert both.rows[:, 0].tolist() == [2, 105, 107, 9]
    assert both.unmet.tolist() == [False, True, True, False]
    assert len(merged(known, _traced([], [])).candidates) == 3


def _traced(items: list[int], scores: list[float], shift: int = 0) -> Trace:
    rows = np.array(items, np.float32)[:, None] + shift
    unmet = np.full(len(items), shift > 0)
    return Trace(np.array(items, np.int32), rows, rows, np.array(scores), unmet, "ranker")


def test_growing_by_nothing_changes_nothing_and_by_steps_as_at_once() -> None:
    _, parts = trained_on_texts()
    arrivals = some_arrivals(parts)
    nobody = Arrivals([], np.empty((0, 16), np.float32), [], ItemFacts.unknown(0))
    same = answer(grown(parts, nobody), fans(parts), Options())
    np.testing.assert_array_equal(same.items, answer(parts, fans(parts), Options()).items)
    first, second = (
        Arrivals(arrivals.item_ids[part], arrivals.vectors[part], arrivals.categories[part], ItemFacts.unknown(6))
        for part in (slice(6), slice(6, 12))
    )
    steps, once = grown(grown(parts, first), second), grown(parts, arrivals)
    assert steps.items.external(np.arange(92)) == once.items.external(np.arange(92))
    np.testing.assert_array_equal(
        answer(steps, fans(parts), Options(k=5)).items, answer(once, fans(parts), Options(k=5)).items
    )


def test_exploration_keeps_its_share_of_places() -> None:
    _, parts = trained_on_texts()
    plain = answer(parts, fans(parts), Options(k=20))
    explored = answer(parts, fans(parts), Options(k=20, fresh_share=0.2))
    new = np.isin(explored.items, parts.fresh)
    assert (new.sum(axis=1) >= 4).all()
    assert (explored.items[:, 0] == plain.items[:, 0]).all()
    assert all(len(set(row)) == 20 for row in explored.items.tolist())


@given(
    st.integers(1, 12).flatmap(lambda n: st.lists(st.booleans(), min_size=n, max_size=n)),
    st.integers(0, 12),
    st.floats(0, 1),
)
def test_a_list_of_any_size_gets_its_share_of_fresh_places(fresh: list[bool], size: int, share: float) -> None:
    scores, is_fresh = -np.arange(len(fresh), dtype=np.float64), np.array(fresh)
    order = np.arange(min(size, len(fresh)))
    found = with_fresh(order, scores, is_fresh, share)
    assert len(set(found.tolist())) == len(found) == len(order)
    assert is_fresh[found].sum() >= min(places_of(share, len(order)), is_fresh.sum())


NOBODY = profiles_of([[]], 1)


def met_since(parts: Parts, item: int) -> ItemStatistics:
    """Return statistics in which an item is what everybody likes of late."""
    state = parts.state.at(parts.closed_at_us, has_clock=parts.has_clock)
    for counts in (state.count, state.decayed, state.seen):
        counts[item] = 3 * counts.max() + 3
    return state


def test_an_item_that_has_become_popular_since_training_stands_among_candidates_as_in_the_feed() -> None:
    _, parts = trained_on_texts()
    risen = int(parts.fresh[0])
    statistics, recommender = met_since(parts, risen), parts.recommender()
    feed = recommender.recommend(NOBODY, statistics, parts.closed_at_us, Options(k=20))
    assert feed.items[0, 0] == risen
    own = Options(k=20, candidates=feed.items[0])
    assert recommender.recommend(NOBODY, statistics, parts.closed_at_us, own).items[0, 0] == risen


@pytest.mark.parametrize("users", [lambda _: NOBODY, fans])
@pytest.mark.parametrize(("n_arrivals", "k"), [(60, 40), (500, 450)])
def test_exploration_shows_what_nobody_acted_on_however_many_places_are_wanted(
    users: Callable[[Parts], Profiles], n_arrivals: int, k: int
) -> None:
    parts = grown(trained_on_texts()[1], some_arrivals(trained_on_texts()[1], n_arrivals))
    profiles = users(parts)
    statistics = met_since(parts, int(parts.fresh[0]))
    options = Options(k=k, fresh_share=0.8)
    explored = parts.recommender().recommend(profiles, statistics, parts.closed_at_us, options)
    found = np.isin(explored.items, parts.fresh[1:]) & (explored.sources != MISSING)
    assert (found.sum(axis=1) >= 0.8 * k).all()


def test_exploration_shows_what_nobody_acted_on_however_many_others_were_met_since() -> None:
    parts = grown(trained_on_texts()[1], some_arrivals(trained_on_texts()[1], 2_000))
    statistics = parts.state.at(parts.closed_at_us, has_clock=parts.has_clock)
    still_new = np.random.default_rng(0).permutation(parts.fresh)[:20]
    statistics.seen[np.setdiff1d(parts.fresh, still_new)] = 1
    options = Options(k=20, fresh_share=0.5)
    explored = parts.recommender().recommend(fans(parts), statistics, parts.closed_at_us, options)
    assert (np.isin(explored.items, still_new).sum(axis=1) >= 10).all()


def test_text_columns_equal_brute_force() -> None:
    _, parts = trained_on_texts()
    rng = np.random.default_rng(1)
    item, weight = rng.integers(80, size=30).astype(np.int32), rng.choice([-1.0, 0.0, 0.7, 1.0], 30).astype(np.float32)
    candidates = np.sort(rng.choice(80, 25, replace=False)).astype(np.int32)
    user = User(item, weight, parts.fold_in.vector(item, weight))
    found = content_columns(parts.content, user, candidates, unmet(parts))
    assert parts.content is not None
    vectors = parts.content.vectors.astype(np.float64)
    liked = [vectors[i] for i in user.liked_items[:20] if vectors[i].any()]
    disliked = [vectors[i] for i in item[weight < 0][:20] if vectors[i].any()]
    names = [feature.name for feature in content_features()]
    for row, candidate in enumerate(candidates.tolist()):
        own = dict(zip(names, found[row].tolist(), strict=True))
        if not vectors[candidate].any():
            assert np.isnan(list(own.values())).all()
            continue
        near = [float(vectors[candidate] @ one) for one in liked]
        expected = {
            "text_last": near[0],
            "text_5": np.mean(near[:5]),
            "text_best_20": max(near),
            "text_disliked": max(float(vectors[candidate] @ one) for one in disliked),
        }
        promise, taste = own.pop("text_popularity"), own.pop("text_taste")
        if candidate not in parts.fresh:  # who liked it says more
            expected |= dict.fromkeys(("text_last", "text_5", "text_best_20"), np.nan)
        assert own == pytest.approx(expected, abs=1e-3, nan_ok=True)
        assert np.isnan(promise) == np.isnan(taste) == (candidate not in parts.fresh)
        if candidate in parts.fresh and user.vector is not None:
            promises = np.column_stack((vectors, np.ones(len(vectors)))) @ parts.content.mapping.astype(np.float64)
            told = vectors.any(axis=1)
            for found_here, column in ((taste, promises[:, :-1] @ user.vector), (promise, promises[:, -1])):
                usual = column[told]
                assert found_here == pytest.approx((column[candidate] - usual.mean()) / usual.std(), abs=2e-2)


@given(st.integers(0, 2**32), st.booleans())
def test_fresh_items_come_by_nearness_and_by_what_they_promise(seed: int, known: bool) -> None:  # noqa: FBT001
    rng = np.random.default_rng(seed)
    items = np.sort(rng.choice(40, 15, replace=False)).astype(np.int32)
    factors, popularity = rng.normal(size=(15, 4)).astype(np.float32), rng.normal(size=15).astype(np.float32)
    vector = rng.normal(size=4).astype(np.float32) if known else None
    blocked = rng.random(40) < 0.3
    _, parts = trained_on_texts()
    view = parts.recommender().view(parts.state.at(parts.closed_at_us, has_clock=parts.has_clock))
    user = User(np.empty(0, np.int32), np.empty(0, np.float32), vector)
    near = FreshSource(items, factors).offer(user, view, blocked, 6)
    promised = PromisedSource.of(items, popularity).offer(user, view, blocked, 6)
    for found, scores in ((near, None if vector is None else factors @ vector), (promised, popularity)):
        pairs = [] if scores is None else zip(scores.tolist(), items.tolist(), strict=True)
        best = [(score, item) for score, item in sorted(pairs, reverse=True) if not blocked[item]][:6]
        assert found.items.tolist() == [item for _, item in best]
        assert found.scores.tolist() == pytest.approx([score for score, _ in best], abs=1e-6)


def test_likeness_by_behaviour_and_by_text() -> None:
    _, parts = trained_on_texts()
    everything = np.ones(len(parts.items), dtype=bool)
    for by in ("behaviour", "content"):
        items, scores = similar_items(parts, 5, 6, everything, by)
        assert 0 < len(items) <= 6
        assert 5 not in items
        assert (np.diff(scores) <= 0).all()
    new = int(parts.fresh[-1])
    assert not len(similar_items(parts, new, 3, everything, "behaviour")[0])
    assert [item % N_GROUPS for item in similar_items(parts, new, 3, everything, "content")[0]] == [new % N_GROUPS] * 3
