"""Item states beside a bundle: visibility by the moment, categories, what the next read asks for."""

import sys
from datetime import UTC, datetime, timedelta
from itertools import cycle
from types import FrameType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from features.contracts.ids import IdMap
from features.store import OVERLAP, ItemState
from serving.item_states import ItemStates, ItemTable

T0 = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = ItemState("a", "A", ("x",), hidden=False, expires_at=None, published_at=None, changed_at=T0)


def us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def known(*states: ItemState) -> ItemStates:
    items = ItemStates()
    items.apply(states, T0)
    return items


def table(*states: ItemState) -> ItemTable:
    return ItemTable.of(known(*states), IdMap(["a", "b", "c"]))


def test_items_without_a_state_are_visible() -> None:
    empty = ItemTable.of(ItemStates(), IdMap(["a", "b", "c"]))
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
    items.states.apply([replace(PLAIN, hidden=True)], T0)
    assert mask.all()
    assert not items.visible(us(T0))[0]


def test_categories_follow_changes() -> None:
    items = table(PLAIN, replace(PLAIN, item_id="b", categories=("x", "y")))
    assert items.in_categories(["x"]).tolist() == [True, True, False]
    changes = [replace(PLAIN, categories=("z",)), replace(PLAIN, item_id="stranger", categories=("z",))]
    assert items.states.apply(changes, T0) == 2
    assert items.states.apply(changes, T0) == 0
    assert items.in_categories(["x"]).tolist() == [False, True, False]
    assert items.in_categories(["z", "y", "nothing"]).tolist() == [True, True, False]
    assert not items.in_categories(["nothing"]).any()


def test_a_category_that_is_named_twice_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    items, looked_up = table(PLAIN), list[str]()

    def members(category: str) -> set[int]:
        looked_up.append(category)
        return {0}

    monkeypatch.setattr(items.states, "members", members)
    for masks in (items, items.states):
        assert masks.in_categories(["x", "y"] * 50).any()
    assert looked_up == ["x", "y"] * 2


def test_the_next_read_starts_at_the_newest_change_until_that_is_settled() -> None:
    states = known(PLAIN)
    assert states.changed_after == T0
    states.apply([], T0 + 3 * OVERLAP)
    asked = states.changed_after
    assert asked is not None
    assert asked - OVERLAP > T0
    assert ItemStates().changed_after is None


def test_a_read_that_goes_on_is_not_a_read_that_is_done() -> None:
    states = ItemStates()
    states.apply([PLAIN], None)
    assert (states.loaded, states.changed_after) == (False, None)
    states.apply([], T0)
    assert states.loaded


def test_another_list_of_items_has_the_same_states_in_its_own_order() -> None:
    states = known(replace(PLAIN, hidden=True), replace(PLAIN, item_id="b", title="B"))
    other = ItemTable.of(states, IdMap(["new", "b", "a"]))
    assert other.visible(us(T0)).tolist() == [True, True, False]
    assert (other.title(0), other.title(1)) == (None, "B")
    assert other.in_categories(["x"]).tolist() == [False, True, True]
    states.apply([replace(PLAIN, item_id="new", hidden=True, deleted=True)], T0)
    assert other.visible(us(T0)).tolist() == [False, True, False]
    assert other.existing().tolist() == [False, True, True]


def test_a_table_grows_by_appended_items_and_both_go_on_living() -> None:
    items = table(PLAIN)
    grown = items.grown(IdMap(["a", "b", "c", "d", "e"]))
    items.states.apply([replace(PLAIN, item_id="e", hidden=True, title="E", categories=("x",))], T0)
    assert grown.visible(us(T0)).tolist() == [True, True, True, True, False]
    assert grown.title(4) == "E"
    assert grown.in_categories(["x"]).tolist() == [True, False, False, False, True]
    assert items.visible(us(T0)).tolist() == [True, True, True]
    assert items.in_categories(["x"]).tolist() == [True, False, False]


def test_many_items_keep_their_states_while_room_is_made() -> None:
    states = ItemStates()
    states.visible(us(T0))
    states.apply([replace(PLAIN, item_id=str(n), hidden=n % 3 == 0) for n in range(5000)], T0)
    assert states.visible(us(T0)).tolist() == [n % 3 != 0 for n in range(5000)]


def test_a_state_may_be_asked_for_at_any_moment_while_its_row_is_added() -> None:
    states, asked = ItemStates(), 0

    def ask(frame: FrameType, event: str, value: object) -> object:
        """Ask as a thread does that gets its turn just here: real ones do so too rarely for a test."""
        nonlocal asked
        del event, value
        frame.f_trace_opcodes = True
        asked += 1
        assert states.get("a") is None
        return ask

    before = sys.gettrace()
    sys.settrace(ask)  # type: ignore[arg-type]  # of what it returns only that it is a function matters
    try:
        states.rows_of(["a"])
    finally:
        sys.settrace(before)
    assert asked > 20
    assert states.state(0) is None


@given(
    st.lists(st.tuples(st.booleans(), st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)), max_size=8),
    st.lists(st.integers(-1, 10), min_size=1, max_size=8),
)
def test_the_kept_mask_equals_a_fresh_look(
    states: list[tuple[bool, int | None, int | None]], moments: list[int]
) -> None:
    ids = [str(number) for number in range(len(states))]
    items = ItemTable.of(ItemStates(), IdMap(ids))

    def at(second: int | None) -> datetime | None:
        return None if second is None else T0 + timedelta(seconds=second)

    for item_id, (hidden, start, end), moment in zip(ids, states, cycle(moments), strict=False):
        items.states.apply(
            [replace(PLAIN, item_id=item_id, hidden=hidden, published_at=at(start), expires_at=at(end))], T0
        )
        items.visible(us(T0 + timedelta(seconds=moment)))
    for moment in moments:
        wanted = [
            not hidden and (start is None or start <= moment) and (end is None or moment < end)
            for hidden, start, end in states
        ]
        assert np.array_equal(items.visible(us(T0 + timedelta(seconds=moment))), np.array(wanted, dtype=bool))
