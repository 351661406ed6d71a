"""A hidden item looks to the ranker as an item looks that nobody ever met."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from features.contracts.profiles import Options
from tests.support.synthetic import SMALL, make_categories, make_facts, make_interactions, make_texts
from training.bundle.content import PROMISE
from training.bundle.offered import SPEC
from training.bundle.parts import Parts
from training.bundle.sources import FRESH, PROMISED, SOURCES
from training.hiding import Hiding, eligible_at
from training.moments import moment_of, position_moments
from training.retrieval import Training, at_moment, fit_retrieval
from training.ridge import promised
from training.slices import HIDDEN_AT_TIMES, hidden_shares
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
    parts = fit_retrieval(training(), replace(SMALL, hidden_items=0.1))
    assert parts.content is not None
    return Hiding.of(parts, parts.content, 0.3, seed=1).with_budgets(dict.fromkeys(SOURCES, 60))


def test_each_user_has_other_hidden_items_and_the_same_again(hiding: Hiding) -> None:
    first, second = hiding.hidden_from("u1"), hiding.hidden_from("u2")
    assert (first != second).any()
    np.testing.assert_array_equal(first, hiding.hidden_from("u1"))
    assert not first[~hiding.content.has_text].any()
    assert 0.1 < first.mean() < 0.5


def test_a_hidden_items_row_is_that_of_an_item_nobody_met() -> None:
    fitted = fit_retrieval(training(), SMALL)
    assert fitted.content is not None
    hide = _HideOne(fitted.recommender(), fitted.content, _promised(fitted), 0.0, 0)
    unmet = fit_retrieval(training(without=ITEM), SMALL)
    candidates = np.arange(0, 80, dtype=np.int32)
    options = Options(candidates=candidates)
    rows = []
    for recommender, interactions, parts in (
        (hide, training().interactions, fitted),
        (unmet.recommender(), training(without=ITEM).interactions, unmet),
    ):
        users = np.setdiff1d(np.arange(60), EVERYONE.user[EVERYONE.item == ITEM])[:5]
        view = recommender.view(parts.state.at(parts.closed_at_us, has_clock=parts.has_clock))
        profiles = interactions.profiles(users, 100)
        found = [recommender.candidates(profiles, user, view, options) for user in range(len(users))]
        rows.append([made[kept.items == ITEM] for kept, made in found])
    of_retrieval = [name.endswith(("_rank", "_relative", "offers", PROMISE)) for name in SPEC.names]
    shares = [name.startswith("item_") and name != "item_year" for name in SPEC.names]  # means over all items
    same = ~np.array(of_retrieval) | np.array([name.startswith("popular_") for name in SPEC.names])
    for hidden, real in zip(*rows, strict=True):
        assert hidden.shape == real.shape == (1, len(SPEC))
        tolerance = np.where(shares, 0.05, 1e-5)[None]
        known = ~np.isnan(real)
        np.testing.assert_array_equal(np.isnan(hidden)[:, same], ~known[:, same])
        assert (np.abs(hidden - real) <= tolerance + 1e-4 * np.abs(real))[:, same][known[:, same]].all()


def _promised(parts: Parts) -> npt.NDArray[np.float32]:
    return promised(parts.fold_in.factors, parts.state.count)


class _HideOne(Hiding):
    def hidden_from(self, user_id: str) -> npt.NDArray[np.bool_]:
        del user_id
        return np.asarray(np.arange(80) == ITEM, dtype=np.bool_)


def test_hidden_items_come_by_their_texts_alone(hiding: Hiding) -> None:
    interactions = training().interactions
    profiles = interactions.profiles(np.arange(10), 100)
    parts = fit_retrieval(training(), SMALL)
    view = hiding.view(parts.state.at(parts.closed_at_us, has_clock=parts.has_clock))
    for user in range(10):
        hidden = hiding.hidden_from(profiles.user_ids[user])
        found, rows = hiding.candidates(profiles, user, view, Options())
        by = dict(zip(SOURCES, found.ranks.T, strict=True))
        new = hidden[found.items]
        assert np.isnan(rows[new][:, SPEC.names.index("item_age")]).all()
        assert not np.isin(found.items, profiles.seen(user)).any()
        assert np.isnan(by["similar"][new]).all()
        assert np.isnan(by["popular"][new]).all()
        for source in (FRESH, PROMISED):
            assert np.isnan(by[source][~new]).all()
            assert not np.isnan(by[source][new]).all()


def test_items_that_nobody_met_are_candidates_beside_hidden_ones() -> None:
    fitted = fit_retrieval(training(without=ITEM), replace(SMALL, hidden_items=0.1))
    assert fitted.content is not None
    assert fitted.fresh.tolist() == [ITEM]
    hiding = Hiding.of(fitted, fitted.content, 0.1, seed=1).with_budgets(dict.fromkeys(SOURCES, 60))
    interactions = training(without=ITEM).interactions
    view = hiding.view(fitted.state.at(fitted.closed_at_us, has_clock=fitted.has_clock))
    profiles = interactions.profiles(np.arange(5), 100)
    for user in range(5):
        found, rows = hiding.candidates(profiles, user, view, Options())
        (row,) = np.flatnonzero(found.items == ITEM)
        by = dict(zip(SOURCES, found.ranks[row], strict=True))
        assert by[FRESH] >= 1
        assert by[PROMISED] >= 1
        assert len(np.unique(found.items)) == len(found.items)
        assert not np.isnan(rows[row, SPEC.names.index(PROMISE)])


def test_what_nobody_meets_in_a_window_is_no_candidate_at_its_moment() -> None:
    known = training().interactions
    at, until = (int(np.quantile(known.at_us, share)) for share in (0.6, 0.8))
    window = known.take(np.flatnonzero(known.at_us < until))
    new = np.unique(window.item[window.at_us >= at])[1:3]  # the first has no text
    early = window.take(np.flatnonzero(~np.isin(window.item, new) | ((window.at_us >= at) & (window.item == new[0]))))
    moment = moment_of(early, cutoff_split(early, at), at)
    parts = fit_retrieval(at_moment(training(), moment.learned), replace(SMALL, hidden_items=0.1))
    assert parts.content is not None
    hiding, validating = (Hiding.of(parts, parts.content, share, seed=1) for share in (0.1, 0.0))

    assert parts.fresh.tolist() == new.tolist()
    for recommender in (parts.recommender(), hiding):
        np.testing.assert_array_equal(eligible_at(recommender, moment), moment.met())
    assert eligible_at(validating, moment)[new].tolist() == [True, False]
    assert eligible_at(validating, moment)[moment.met()].all()


def test_new_items_validate_alone_where_moments_have_a_time_and_users_met_such() -> None:
    config, known = replace(SMALL, hidden_items=0.1), training().interactions
    by_position = position_moments(known, 0.2, 2)
    at = int(np.quantile(known.at_us, 0.8))
    by_time = moment_of(known, cutoff_split(known, at), at)
    assert by_time.has_time
    assert not by_position[0].has_time
    assert hidden_shares(training(), by_position, config) == (0.1, 0.1)
    assert hidden_shares(training(), [by_time], config) == (0.1, 0.1)  # every item has been met before
    new = np.unique(np.concatenate(by_time.labels))[:4]
    rest = known.take(np.flatnonzero(~np.isin(known.item, new) | (known.at_us >= at)))
    truly_new = moment_of(rest, cutoff_split(rest, at), at)
    assert hidden_shares(training(), [truly_new], config) == (0, HIDDEN_AT_TIMES)
    assert hidden_shares(training(), [by_time], SMALL) == (0, 0)
