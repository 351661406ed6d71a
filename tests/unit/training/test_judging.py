"""Where the judging window begins: wide enough for the users that are wanted, at most a quarter of the data."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.contracts.ids import IdMap
from features.contracts.profiles import UserHistory
from features.contracts.statistics import DAY_US
from tests.support.synthetic import START_US, make_interactions, with_stray
from tests.support.tiny_bundle import write_tiny_bundle
from training.bundle.read import open_bundle
from training.judging import in_items_of, judged_after, judging_start

EVENTS = make_interactions(n_users=300)
SPAN_US = int(EVENTS.at_us[-1]) + 1 - int(EVENTS.at_us[0])


def users_from(start_us: int) -> int:
    return len(judged_after(EVENTS, start_us, EVENTS.items))


def test_the_window_is_doubled_until_as_many_users_have_labels_as_are_wanted() -> None:
    starts = [judging_start(EVENTS, wanted) for wanted in (1, 150, 200)]
    days = [round((int(EVENTS.at_us[-1]) + 1 - start_us) / DAY_US) for start_us in starts]
    assert days == [1, 4, 8]
    assert users_from(starts[0]) < 150 <= users_from(starts[1]) < 200 <= users_from(starts[2])


def test_where_items_may_come_back_those_that_a_user_had_are_labels_too() -> None:
    few = make_interactions(n_users=300, n_items=12, per_user=40)  # people who come back for the same few things
    end_us = int(few.at_us[-1]) + 1
    days = [round((end_us - judging_start(few, 100, include_seen=again)) / DAY_US) for again in (False, True)]
    assert days == [8, 1]


def test_the_window_takes_a_quarter_of_the_data_at_most() -> None:
    start_us = judging_start(EVENTS, 10_000)
    window_us = int(EVENTS.at_us[-1]) + 1 - start_us
    assert SPAN_US / 4 <= window_us <= SPAN_US / 4 + EVENTS.bucket_us


@pytest.mark.parametrize("before_days", [20_000, 3 * 365])
def test_one_old_event_stretches_no_window(before_days: int) -> None:
    stray = with_stray(EVENTS, START_US - before_days * DAY_US)
    for wanted in (1, 150, 10_000):
        assert judging_start(stray, wanted) == pytest.approx(judging_start(EVENTS, wanted), abs=SPAN_US / 100)


def test_half_of_the_interactions_are_left_to_learn_from() -> None:
    times = np.where(np.arange(len(EVENTS)) < len(EVENTS) // 10, EVENTS.at_us - 150 * DAY_US, EVENTS.at_us)
    grown = replace(EVENTS, at_us=times, known_us=times)
    learned = np.searchsorted(times, judging_start(grown, 10_000))
    assert 0.49 <= learned / len(grown) <= 0.5, "a quarter of the span holds nine tenths of them"


def test_what_was_published_in_the_window_may_not_be_listed_unless_somebody_had_met_it() -> None:
    start_us = judging_start(EVENTS)
    items = IdMap([*EVENTS.items.external(np.arange(len(EVENTS.items))), "nobody met it", "out next week"])
    met = int(EVENTS.item[0])
    later = np.zeros(len(items), dtype=bool)
    later[[met, len(items) - 1]] = True

    judged = judged_after(EVENTS, start_us, items, later=later)

    assert judged.eligible is not None
    assert np.flatnonzero(~judged.eligible).tolist() == [len(items) - 1]
    assert judged.options(10).eligible is judged.eligible


def test_a_bundle_reads_histories_by_its_own_weights_and_is_judged_on_the_same_labels() -> None:
    start_us = judging_start(EVENTS)
    own = replace(EVENTS, weight=-EVENTS.weight)

    judged, same = judged_after(EVENTS, start_us, EVENTS.items, read=own), judged_after(EVENTS, start_us, EVENTS.items)

    np.testing.assert_array_equal(judged.history.weight, -same.history.weight)
    np.testing.assert_array_equal(judged.users, same.users)
    for labels, expected in zip(judged.labels, same.labels, strict=True):
        np.testing.assert_array_equal(labels, expected)


def test_a_history_is_cut_to_its_latest_events_before_a_bundle_leaves_out_what_it_lacks_as_servers_cut_it(
    tmp_path: Path,
) -> None:
    bundle = open_bundle(tmp_path, write_tiny_bundle(tmp_path, n_items=30))  # EVENTS are of 80
    plan = msgspec.structs.replace(bundle.manifest.plan, history_limit=5)
    short = replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, plan=plan))
    users, (order, offsets) = np.array([7, 3, 250]), EVENTS.by_user
    histories = []
    for user in users.tolist():
        items = EVENTS.items.external(EVENTS.item[order[offsets[user] : offsets[user + 1]][::-1]])
        told = ["view"] * len(items), [np.nan] * len(items), [0] * len(items)
        histories.append(UserHistory(f"u{user}", items, items, *told, seen_item_ids=items))
    served = short.encode(histories)
    assert len(served.item) < 15

    own = in_items_of(EVENTS, bundle.items).profiles(users, 5)

    np.testing.assert_array_equal(own.offsets, served.offsets)
    np.testing.assert_array_equal(own.item, served.item)
    np.testing.assert_array_equal(own.seen_item, served.seen_item)
