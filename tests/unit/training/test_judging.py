"""Where the judging window begins: wide enough for the users that are wanted, at most a quarter of the data."""

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
