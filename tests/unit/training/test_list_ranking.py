"""Lists re-ranked from lists before a cut: what is learned, and that nothing of what is asked is read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts.errors import ContractError
from features.contracts.ids import IdMap
from features.contracts.profiles import Options
from features.items import Categories
from features.list_features import Attributes, ListView, ShownRows, list_features, list_rows
from tests.support.synthetic import SMALL
from training.attributes import load_attributes
from training.backtest import Cut, run_backtest
from training.bundle.bundle import Bundle
from training.bundle.fusion import order_scores
from training.data import Interactions
from training.frames import load_interactions
from training.groups import Group
from training.impressions import Shown, list_cut, load_impressions, logged, ranked_frame
from training.list_ranking import ListSource, RankedLists, rank_lists, taught

N_ITEMS, N_USERS = 40, 30


Clicked = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""How likely items are clicked, by their numbers and places."""


def written(path: Path, seed: int, chance: Clicked) -> Path:
    """Return a file of 300 lists of 8 items."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(300):
        shown = rng.choice(N_ITEMS, 8, replace=False)
        clicked = rng.random(8) < chance(shown, np.arange(8))
        rows += [
            (f"l{number}", int(rng.integers(N_USERS)), number, f"i{item}", place, bool(click))
            for place, (item, click) in enumerate(zip(shown, clicked, strict=True), start=1)
        ]
    frame = pd.DataFrame(rows, columns=["list_id", "user_id", "occurred_at", "item_id", "position", "clicked"])
    frame["user_id"] = frame.groupby("list_id").user_id.transform("first")
    frame.sample(frac=1, random_state=0).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of lists in which items with small numbers are clicked, whatever their place."""
    path = tmp_path_factory.mktemp("lists") / "lists.parquet"
    return written(path, 3, lambda item, _: np.where(item < 8, 0.8, 0.05))


@pytest.fixture(scope="module")
def bundle(lists: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    shown = load_impressions(lists)
    cut = Cut(cutoff=list_cut(shown, Cut(holdout=0.2)))
    folder = tmp_path_factory.mktemp("out")
    return run_backtest(shown.clicks(), None, cut, SMALL, folder=folder, options=Options(k=5)).bundle


def ranked(shown: Shown, bundle: Bundle) -> tuple[RankedLists, pd.DataFrame]:
    source = ListSource(logged(shown), shown.clicks().interactions, None, bundle, SMALL)
    found = rank_lists(source, list_cut(shown, Cut(holdout=0.2)))
    return found, ranked_frame(shown, source.lists, found)


def test_clicked_items_come_first_and_later_clicks_are_not_read(lists: Path, bundle: Bundle) -> None:
    shown = load_impressions(lists)
    found, frame = ranked(shown, bundle)
    assert found.order_by != "bundle"
    assert found.ndcg["ranked"].mean() > found.ndcg["shown"].mean() + 0.2
    assert frame.groupby("list_id")["rank"].apply(list).tolist() == [list(range(1, 9))] * 60
    blind = shown.frame.copy()
    blind.loc[blind.occurred_at >= list_cut(shown, Cut(holdout=0.2)), "clicked"] = False
    pd.testing.assert_frame_equal(frame, ranked(Shown(blind, lists), bundle)[1])


@pytest.mark.parametrize(("by_item", "by_place", "order_by"), [(0, 0.09, "shown"), (1 / 80, 0.05, "ranker")])
def test_another_order_serves_where_it_leads_clearly_not_by_a_little(
    by_item: float, by_place: float, order_by: str, bundle: Bundle, tmp_path: Path
) -> None:
    path = written(tmp_path / "lists.parquet", 12, lambda item, place: 0.7 - by_item * item - by_place * place)
    found = ranked(load_impressions(path), bundle)[0]
    assert found.validation["shown"] > found.validation["ranker"]
    assert found.order_by == order_by


def test_position_is_learned_of_only_where_that_leads_clearly(lists: Path, bundle: Bundle) -> None:
    shown = load_impressions(lists)
    config = replace(SMALL, seed=12, ranker=replace(SMALL.ranker, leaves=4))
    source = ListSource(logged(shown), shown.clicks().interactions, None, bundle, config)
    found = rank_lists(source, list_cut(shown, Cut(holdout=0.2))).validation
    assert found["with position"] > found["without position"] == found["ranker"]


def test_few_lists_are_ordered_by_the_bundle(lists: Path, bundle: Bundle) -> None:
    shown = load_impressions(lists)
    few = shown.frame[shown.frame.occurred_at >= 200]
    found, frame = ranked(Shown(few, lists), bundle)
    assert found.order_by == "bundle"
    assert found.ndcg["ranked"].mean() > found.ndcg["shown"].mean()
    assert set(frame.item_id) <= set(few.item_id)


def test_the_bundle_orders_lists_where_the_latest_window_has_no_click(lists: Path, bundle: Bundle) -> None:
    shown = load_impressions(lists)
    frame = shown.frame.copy()
    frame["clicked"] &= frame.occurred_at < 190
    source = ListSource(logged(Shown(frame, lists)), shown.clicks().interactions, None, bundle, SMALL)
    assert rank_lists(source, list_cut(shown, Cut(holdout=0.2))).order_by == "bundle"


def test_few_lists_of_strangers_are_ordered_by_what_serves_strangers(lists: Path, bundle: Bundle) -> None:
    shown = load_impressions(lists)
    few = shown.frame[shown.frame.occurred_at >= 200].assign(user_id="stranger")
    source = ListSource(logged(Shown(few, lists)), shown.clicks().interactions, None, bundle, SMALL)
    cut, plan = list_cut(shown, Cut(holdout=0.2)), bundle.manifest.plan
    found = rank_lists(source, cut)
    assert (found.order_by, plan.order_by) == ("bundle", "ranker"), "which would order lists of those who are known"
    for group, scores in zip(source.groups(found.entries, cut), found.scores, strict=True):
        held = np.isfinite(group.ranks).any(axis=1)
        np.testing.assert_array_equal(scores[held], order_scores(group.ranks, plan.cold_source)[held])


def test_unclicked_items_below_the_last_click_may_be_left_out() -> None:
    gain = np.array([0, 1, 0, 1, 0, 0], np.float32)
    group = Group(np.arange(6, dtype=np.float32)[:, None], np.empty((6, 0), np.float32), gain, relevant=2)
    assert taught(group, below=False).rows[:, 0].tolist() == [0, 1, 2, 3]
    assert taught(group, below=True) is group


def test_lists_must_lie_on_both_sides_of_the_cut(lists: Path, bundle: Bundle) -> None:
    shown = load_impressions(lists)
    source = ListSource(logged(shown), shown.clicks().interactions, None, bundle, SMALL)
    with pytest.raises(ContractError, match="choose a cut inside the data"):
        rank_lists(source, 10_000)
    timed = replace(source, interactions=replace(source.interactions, has_clock=True))
    with pytest.raises(ContractError, match="0 lists at or after 2030-01-01T00:00:00Z, and something"):
        rank_lists(timed, 1_893_456_000_000_000)


def test_what_became_known_after_a_cut_is_not_read(lists: Path, bundle: Bundle, tmp_path: Path) -> None:
    shown = load_impressions(lists)
    cut = list_cut(shown, Cut(holdout=0.2))
    clicks = shown.frame[shown.frame.clicked].assign(action="click")
    late = clicks.index % 3 == 0
    clicks["known_at"] = np.where(late, clicks.occurred_at.max() + 1, clicks.occurred_at)

    clicks.to_parquet(tmp_path / "clicks.parquet")
    interactions = load_interactions(tmp_path / "clicks.parquet").interactions

    def scored(read: Interactions) -> RankedLists:
        return rank_lists(ListSource(logged(shown), read, None, bundle, SMALL), cut)

    found = scored(interactions)
    without = scored(interactions.take(np.flatnonzero(interactions.known_us == interactions.at_us)))
    assert found.validation == without.validation
    np.testing.assert_array_equal(np.concatenate(found.scores), np.concatenate(without.scores))


def test_a_cut_before_which_nothing_was_known_is_refused(lists: Path, bundle: Bundle) -> None:
    shown = load_impressions(lists)
    interactions = shown.clicks().interactions
    unknown = replace(interactions, known_us=np.full(len(interactions), 10_000))
    with pytest.raises(ContractError, match="choose a cut inside the data"):
        rank_lists(ListSource(logged(shown), unknown, None, bundle, SMALL), 200)


def test_rows_are_clicks_against_showings() -> None:
    categories = Categories(("a", "b"), np.array([0, 1, 2, 3, 3]), np.array([0, 0, 1], np.int32))
    numbers = np.array([[0.25], [0.5], [np.nan], [1.0]])
    attributes = Attributes({"kind": categories}, ("size",), numbers)
    past = ShownRows(np.array([0, 0, 1, 1]), np.array([0, 2, 0, 1], np.int32), np.array([True, False, True, False]))
    view = ListView(past, attributes, 4)
    names = [feature.name for feature in list_features(attributes)]
    rows = dict(zip(names, list_rows(view, past, np.array([0, 2, 3], np.int32)).T, strict=True))
    np.testing.assert_allclose(rows["item_shown"], [2, 1, 0])
    np.testing.assert_allclose(rows["item_ctr"], [12 / 22, 10 / 21, 0.5], rtol=1e-6)
    np.testing.assert_allclose(rows["item_lift"], [1 / 22, -0.5 / 21, 0], rtol=1e-6)
    np.testing.assert_allclose(rows["item_again"], [0.5, -0.5, np.nan])
    np.testing.assert_allclose(rows["facet_kind_user"], [0.5 / 8, -0.5 / 6, np.nan], rtol=1e-6)
    np.testing.assert_allclose(rows["number_size_gap"], [0.0, np.nan, 0.75])
    stranger = list_rows(view, past.take(slice(0)), np.array([0], np.int32))[0]
    assert np.isnan(stranger[names.index("user_ctr")])
    assert stranger[names.index("user_lists")] == 0


def test_attributes_are_numbers_as_ranks_and_columns_that_repeat(tmp_path: Path) -> None:
    ids = IdMap(["x", "y", "z", "not in the file"])
    pd.DataFrame(
        {
            "item_id": ["z", "y", "x", "of others"],
            "title": ["Z", "Y", "X", "O"],
            "run time (min)": [90.0, np.nan, 120.0, 1.0],
            "maker": ["m|n", "m", "n", "m"],
            "code": ["c1", "c2", "c3", "c4"],
        }
    ).to_parquet(tmp_path / "items.parquet")
    found = load_attributes(tmp_path / "items.parquet", ids)
    assert found.names == ("run_time__min_",)
    np.testing.assert_array_equal(found.numbers[:, 0], [1.0, np.nan, 0.5, np.nan])
    assert {name: facet.names for name, facet in found.facets.items()} == {"maker": ("m", "n")}
    assert found.facets["maker"].count.tolist() == [1, 1, 2, 0]
