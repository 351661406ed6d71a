"""New users are judged on what they liked after their first events, from what was known by then."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from features.contracts.ids import MISSING
from features.contracts.profiles import Options
from tests.support.synthetic import SMALL, make_categories, make_facts, make_interactions
from training.backtest import Cut, Known, know
from training.bundle.recommender import Recommender
from training.bundle.sources import NOTHING
from training.data import Interactions
from training.evaluation import newcomers
from training.evaluation.methods import K, baseline_lists
from training.evaluation.newcomers import judge_newcomers, place_in_turn, start_after, unseen_items
from training.lists import groups
from training.retrieval import Training, fit_retrieval


@lru_cache(maxsize=2)
def made(*, exclude_seen: bool = True) -> tuple[Interactions, Known, Recommender]:
    """Return interactions in which the last ten users and the last five items come after the cut, and a recommender."""
    everything = make_interactions()
    middle = int(np.quantile(everything.at_us, 0.6))
    late = (everything.user >= 50) | (everything.item >= 75)
    kept = everything.take(np.flatnonzero(~(late & (everything.at_us < middle))))
    known = know(kept, Cut(cutoff=middle))
    n_items = len(known.history.items)
    training = Training(known.history, make_categories(n_items), make_facts(n_items), known.until_us)
    return kept, known, fit_retrieval(training, replace(SMALL, exclude_seen=exclude_seen)).recommender()


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_stages_hold_the_users_that_brute_force_finds(exclude_seen: bool) -> None:  # noqa: FBT001
    kept, known, recommender = made(exclude_seen=exclude_seen)
    found = judge_newcomers(recommender, known.history, known.all_later, by_time=True, seed=0)
    old, items = set(known.history.user.tolist()), set(known.history.items.external(np.unique(known.history.item)))
    events: dict[int, list[tuple[str, bool]]] = {}
    for user, item, weight in zip(kept.user.tolist(), kept.items.external(kept.item), kept.weight, strict=True):
        if user not in old:
            events.setdefault(user, []).append((item, weight > 0))
    assert found.users == len(events)
    for stage in found.stages:
        judged = 0
        for rows in events.values():
            had = {item for item, _ in rows[: stage.events]} if exclude_seen else set()
            wanted = {item for item, liked in rows[stage.events :] if liked and item in items} - had
            judged += bool(wanted) and len(rows) >= stage.events
        assert stage.users == judged
        assert set(stage.methods) > {"marquee", "popularity"}
    assert [stage.events for stage in found.stages] == list(newcomers.EVENTS)


def test_a_new_user_is_known_by_the_first_events_only() -> None:
    own = make_interactions(4, n_users=6, n_items=12, per_user=8)
    own = replace(own, item=np.where(own.item == 3, MISSING, own.item).astype(np.int32))
    start = start_after(own, place_in_turn(own), 3, seed=0)
    assert len(start.users)
    for user, moment, labels in zip(start.users.tolist(), start.as_of_us.tolist(), start.labels, strict=True):
        rows = np.flatnonzero(own.user == user)
        assert moment == own.known_us[rows[2]] + 1
        had = own.item[rows[:3]]
        liked = own.item[rows[3:]][own.weight[rows[3:]] > 0]
        assert labels.tolist() == sorted({*liked.tolist()} - {*had.tolist(), MISSING})
        again = start_after(own, place_in_turn(own), 3, seed=0, include_seen=True)
        assert again.labels[again.users.tolist().index(user)].tolist() == sorted({*liked.tolist()} - {MISSING})
        assert start.first.item[start.first.user == user].tolist() == had[had != MISSING].tolist()


def test_a_later_change_of_the_future_changes_no_list() -> None:
    _, known, recommender = made()
    before = judge_newcomers(recommender, known.history, known.all_later, by_time=True, seed=0)
    later = known.all_later
    newest = later.at_us >= np.quantile(later.at_us, 0.98)
    changed = replace(later, weight=np.where(newest & (later.weight > 0), 9.0, later.weight).astype(np.float32))
    after = judge_newcomers(recommender, known.history, changed, by_time=True, seed=0)
    assert after.stages[0].methods["popularity"] == before.stages[0].methods["popularity"]
    assert after.stages[0].methods["marquee"] == before.stages[0].methods["marquee"]


def test_without_a_cut_in_time_nobody_is_new() -> None:
    kept, _, recommender = made()
    known = know(kept, Cut(holdout=0.2))
    found = judge_newcomers(recommender, known.history, known.all_later, by_time=False, seed=0)
    assert (found.users, found.stages, found.unseen_of_newcomers) == (0, [], None)


def test_items_that_only_a_catalogue_names_are_unseen() -> None:
    kept, known, recommender = made()
    more = know(kept, Cut(cutoff=known.until_us), kept.items.external(np.arange(len(kept.items))))
    assert len(more.history.items) > len(known.history.items), "the catalogue names items that came later"
    alone, of_catalogue = (
        judge_newcomers(recommender, found.history, found.all_later, by_time=False, seed=0).unseen
        for found in (known, more)
    )
    assert of_catalogue == alone
    assert of_catalogue.items == 5


def test_liking_of_unseen_items_is_counted() -> None:
    interactions = make_interactions(1, n_users=5, n_items=10)
    known = interactions.item < 7
    found = unseen_items(interactions, known, seed=0)
    liked = interactions.weight > 0
    assert found.events == (liked & ~known).sum()
    assert found.items == len({*interactions.item[liked & ~known].tolist()})
    assert found.share.mean == pytest.approx((liked & ~known).sum() / liked.sum())
    assert found.share.low <= found.share.mean <= found.share.high


def test_baselines_are_filled_up_as_serving_fills_lists() -> None:
    _, known, recommender = made()
    users = np.arange(5, dtype=np.int32)
    group = next(groups(known.history, users, np.full(5, known.until_us), 50))
    served = recommender.popular(group.profiles, group.statistics, Options(k=K))
    moment, options = known.until_us, Options(k=K)
    traces = recommender.recommend(group.profiles, group.statistics, moment, options, trace=True).traces
    nothing, popular = {"als": NOTHING}, served.items
    found = [baseline_lists(("als",), traces[row], nothing, popular[row])["als"].tolist() for row in range(5)]
    assert found == served.items.tolist()


def test_places_count_from_each_users_first_row() -> None:
    interactions = make_interactions(2, n_users=4, n_items=9, per_user=5)
    place, seen = place_in_turn(interactions), np.full(4, MISSING)
    for row, user in enumerate(interactions.user.tolist()):
        seen[user] += 1
        assert place[row] == seen[user]
