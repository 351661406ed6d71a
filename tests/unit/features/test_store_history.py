"""A history as the query gives it."""

from features.contracts.profiles import UserHistory
from features.store import history_of


def test_what_was_seen_outlives_the_events_that_retention_took() -> None:
    assert history_of("u", (None, None, None, None, None, ["a", "b"], None)) == UserHistory(
        "u", seen_item_ids=["a", "b"]
    )
    assert history_of("u", (None, None, None, None, None, None, None)) == history_of("u", None) == UserHistory("u")
