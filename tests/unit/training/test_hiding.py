"""A hidden item looks to the ranker as an item looks that nobody ever met."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from features.contracts.profiles import Options
from tests.support.synthetic import SMALL, make_categories, make_facts, make_interactions, make_texts
from training.bundle.content import PROMISE
from training.bundle.offered import SPEC
from training.bundle.sources import BY_TEXT, FRESH, PROMISED, SOURCES
from training.data import Interactions
from training.fresh_slices import truly_new
from training.hiding import Hiding
from training.moments import Moment, moment_of, position_moments
from training.retrieval import Training, fit_retrieval
from training.ridge import promised
from training.slices import make_slices
from training.split import cutoff_split

EVERYONE = make_interactions(seed=3)
ITEM = 5


def training(*, without: int | None = None) -> Training:
    """Return made-up data, with one item's events taken away if asked for."""
    kept = np.flatnonzero(EVERYONE.item != without) if without is not None else np.arange(len(EVERYONE))
    interactions = EVERYONE.take(kept).on_backtest_clock()
    return Training(interactions, make_categories(), make_facts(), int(EVERYONE.at_us[-1]) + 1, make_texts())


@pytest.fixture(scope="module")
def hiding() -> Hiding:
    parts = fit_retrieval(training(), replace(SMALL, new_items=True))
    assert parts.content is not None
    return Hiding.of(parts, parts.content, 0.25, seed=1).with_budgets(dict.fromkeys(SOURCES, 60))


def test_each_user_has_other_hidden_items_and_the_same_again(hiding: Hiding) -> None:
    first, second = hiding.hidden("u1", 0), hiding.hidden("u2", 0)
    assert (first != second).any()
    np.testing.assert_array_equal(first, hiding.hidden("u1", 0))
    assert hiding.draws == 3
    assert not (first & (hiding.hidden("u1") | hiding.hidden("u2"))).any(), "what validates is never learned from"
    draws = np.sum([hiding.hidden("u1", draw) for draw in range(hiding.draws)], axis=0)
    assert draws.max() == 1, "no item is hidden twice"
    assert not first[~hiding.content.has_text].any()
    assert 0.1 < first.mean() < 0.5


def test_a_hidden_items_row_is_that_of_an_item_nobody_met() -> None:
    fitted = fit_retrieval(training(), SMALL)
    assert fitted.content is not None
    hide = Hiding.of(fitted, fitted.content, 0.25, seed=1)
    hide = replace(hide, promised=promised(fitted.fold_in.factors, fitted.state.count))
    unmet = fit_retrieval(training(without=ITEM), replace(SMALL, new_items=True))
    only, options = np.arange(80) == ITEM, Options(candidates=np.arange(0, 80, dtype=np.int32))
    rows: list[list[npt.NDArray[np.float32]]] = []
    for parts, interactions in ((fitted, training().interactions), (unmet, training(without=ITEM).interactions)):
        users = np.setdiff1d(np.arange(60), EVERYONE.user[EVERYONE.item == ITEM])[:5]
        recommender, profiles = parts.recommender(), interactions.profiles(users, 100)
        view = recommender.view(parts.state.at(parts.closed_at_us, has_clock=parts.has_clock))
        rows.append([])
        for user in range(len(users)):
            where = profiles, user, view, options
            found, made = hide.candidates(*where, only) if parts is fitted else recommender.fresh_candidates(*where)
            assert found.items.tolist() == [ITEM]
            rows[-1].append(made)
    of_retrieval = [name.endswith(("_rank", "_relative", "offers", "text_taste", PROMISE)) for name in SPEC.names]
    shares = [name.startswith("item_") and name != "item_year" for name in SPEC.names]  # means over all items
    same = ~np.array(of_retrieval) | np.array([name.startswith("popular_") for name in SPEC.names])
    for hidden, real in zip(*rows, strict=True):
        assert hidden.shape == real.shape == (1, len(SPEC))
        tolerance = np.where(shares, 0.05, 1e-5)[None]
        known = ~np.isnan(real)
        np.testing.assert_array_equal(np.isnan(hidden)[:, same], ~known[:, same])
        assert (np.abs(hidden - real) <= tolerance + 1e-4 * np.abs(real))[:, same][known[:, same]].all()


def test_hidden_items_come_by_their_texts_alone(hiding: Hiding) -> None:
    profiles = training().interactions.profiles(np.arange(10), 100)
    parts = fit_retrieval(training(), SMALL)
    view = hiding.recommender.view(parts.state.at(parts.closed_at_us, has_clock=parts.has_clock))
    for user in range(10):
        hidden = hiding.hidden(profiles.user_ids[user])
        found, rows = hiding.candidates(profiles, user, view, Options(), hidden)
        by = dict(zip(SOURCES, found.ranks.T, strict=True))
        assert found.items.tolist() == [item for item in np.flatnonzero(hidden) if item not in profiles.seen(user)]
        assert np.isnan(rows[:, SPEC.names.index("item_age")]).all()
        assert not np.isnan(rows[:, SPEC.names.index(PROMISE)]).any()
        for name, ranks in by.items():
            assert name in BY_TEXT or np.isnan(ranks).all()
        assert not np.isnan(by[FRESH]).any()
        assert not np.isnan(by[PROMISED]).any()


def test_new_items_validate_where_moments_have_a_time_and_users_met_such() -> None:
    known = training().interactions
    by_position = position_moments(known, 0.2, 2)
    at = int(np.quantile(known.at_us, 0.8))
    by_time = moment_of(known, cutoff_split(known, at), at)
    assert by_time.has_time
    assert not by_position[0].has_time
    assert not truly_new(by_position)
    assert not truly_new([by_time])  # every item has been met before
    assert truly_new([_with_new(known, at)[0]])


def _with_new(known: Interactions, at: int) -> tuple[Moment, npt.NDArray[np.int32]]:
    """Return a moment at which nobody had met some of the items that users liked next, and these items."""
    labels = moment_of(known, cutoff_split(known, at), at).labels
    new = np.unique(np.concatenate(labels))[:6]
    rest = known.take(np.flatnonzero(~np.isin(known.item, new) | (known.at_us >= at)))
    return moment_of(rest, cutoff_split(rest, at), at), new


@pytest.mark.parametrize("by_hidden", [True, False])
def test_both_rankers_learn_of_the_same_users_and_each_of_its_own_items(by_hidden: bool) -> None:  # noqa: FBT001
    known = training().interactions
    latest, new = _with_new(known, int(np.quantile(known.at_us, 0.8)))
    earlier = int(np.quantile(known.at_us, 0.6))
    before = moment_of(latest.history, cutoff_split(latest.history, earlier), earlier)
    moments = position_moments(known, 0.2, 2) if by_hidden else [latest, before]
    slices = make_slices(training(), moments, replace(SMALL, new_items=True))
    fresh = slices.fresh
    assert fresh is not None
    assert len(fresh.later) == len(slices.later) == len(fresh.displaced)
    assert {group.user for group in fresh.earlier} <= {group.user for group in slices.earlier}
    assert len(fresh.earlier) > len({group.user for group in fresh.earlier}), "items are drawn several times for a user"
    assert all(group.relevant for group in fresh.earlier)
    assert sum(bool(group.hit.any()) for group in fresh.earlier) > 0
    for group, other, displaced in zip(fresh.later, slices.later, fresh.displaced, strict=True):
        assert group.items is not None
        assert other.items is not None
        assert group.user == other.user
        assert not np.isin(other.items[~displaced], group.items).any()
        assert displaced.any() <= by_hidden
        assert group.relevant <= other.relevant
        assert by_hidden or set(group.items) <= set(new)
    assert sum(group.hit.sum() for group in fresh.later) > 0
    assert {name for name, budget in fresh.budgets.items() if budget} == set(BY_TEXT)
    assert not {name for name, budget in slices.budgets.items() if budget} & set(BY_TEXT)


def test_no_ranker_learns_of_new_items_unless_asked_to() -> None:
    assert make_slices(training(), position_moments(training().interactions, 0.2, 2), SMALL).fresh is None
