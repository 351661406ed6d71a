"""Where the judging window begins: wide enough for the users that are wanted, at most a quarter of the data."""

from dataclasses import replace

import numpy as np

from features.contracts.ids import IdMap
from features.contracts.statistics import DAY_US
from tests.support.synthetic import make_interactions
from training.judging import judged_after, judging_start

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
