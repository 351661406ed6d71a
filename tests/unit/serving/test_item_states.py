"""Item states beside a bundle: visibility by the moment, categories, what the next read asks for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.ids import IdMap
from features.store import OVERLAP, ItemState
from serving.item_states import ItemTable

T0 = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = ItemState("a", "A", ("x",), hidden=False, expires_at=None, published_at=None, changed_at=T0)


def us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def table(*states: ItemState) -> ItemTable:
    items = ItemTable(IdMap(["a", "b", "c"]))
    items.apply(states, T0)
    return items


def test_items_without_a_state_are_visible() -> None:
    empty = ItemTable(IdMap(["a", "b", "c"]))
    assert empty.visible(us(T0)).all()
    assert not empty.loaded
    assert empty.title(0) is None


def test_hidden_unpublished_and_expired_items_are_not_visible() -> None:
    later = T0 + timedelta(hours=1)
    items = table(
        replace(PLAIN, hidden=True),
        replace(PLAIN, item_id="b", published_at=later),
        replace(PLAIN, item_id="c", expires_at=later),
    )
    assert items.visible(us(T0)).tolist() == [False, False, True]
    assert items.visible(us(later) - 1).tolist() == [False, False, True]
    assert items.visible(us(later)).tolist() == [False, True, False]
    assert items.visible(us(T0)).tolist() == [False, False, True]


def test_masks_that_were_handed_out_stay_as_they_were() -> None:
    items = table(PLAIN)
    mask = items.visible(us(T0))
    items.apply([replace(PLAIN, hidden=True)], T0)
    assert mask.all()
    assert not items.visible(us(T0))[0]


def test_categories_follow_changes() -> None:
    items = table(PLAIN, replace(PLAIN, item_id="b", categories=("x", "y")))
    assert items.in_categories(["x"]).tolist() == [True, True, False]
    assert items.apply([replace(PLAIN, categories=("z",)), replace(PLAIN, item_id="stranger")], T0) == 1
    assert items.in_categories(["x"]).tolist() == [False, True, False]
    assert items.in_categories(["z", "y", "nothing"]).tolist() == [True, True, False]
    assert not items.in_categories(["nothing"]).any()


def test_the_next_read_starts_at_the_newest_change_until_that_is_settled() -> None:
    items = table(PLAIN)
    assert items.changed_after == T0
    items.apply([], T0 + 3 * OVERLAP)
    asked = items.changed_after
    assert asked is not None
    assert asked - OVERLAP > T0
    assert ItemTable(IdMap([])).changed_after is None


def test_states_are_carried_to_another_bundle_and_read_again() -> None:
    items = table(replace(PLAIN, hidden=True), replace(PLAIN, item_id="b", title="B"))
    carried = items.carried_to(IdMap(["new", "b", "a"]))
    assert carried.visible(us(T0)).tolist() == [True, True, False]
    assert carried.title(1) == "B"
    assert carried.in_categories(["x"]).tolist() == [False, True, True]
    assert not carried.loaded
    assert carried.changed_after is None


@given(
    st.lists(st.tuples(st.booleans(), st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)), max_size=8),
    st.lists(st.integers(-1, 10), min_size=1, max_size=8),
)
def test_the_kept_mask_equals_a_fresh_look(
    states: list[tuple[bool, int | None, int | None]], moments: list[int]
) -> None:
    ids = [str(number) for number in range(len(states))]
    items = ItemTable(IdMap(ids))

    def at(second: int | None) -> datetime | None:
        return None if second is None else T0 + timedelta(seconds=second)

    items.apply(
        [
            replace(PLAIN, item_id=item_id, hidden=hidden, published_at=at(start), expires_at=at(end))
            for item_id, (hidden, start, end) in zip(ids, states, strict=True)
        ],
        T0,
    )
    for moment in moments:
        wanted = [
            not hidden and (start is None or start <= moment) and (end is None or moment < end)
            for hidden, start, end in states
        ]
        assert np.array_equal(items.visible(us(T0 + timedelta(seconds=moment))), np.array(wanted, dtype=bool))
