from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts.errors import ContractError
from features.contracts.ids import IdMap
from features.contracts.weights_file import load_weights
from training.backtest import Cut
from training.frames import (
    Loaded,
    catalogue_ids,
    category_list,
    load_categories,
    load_interactions,
    load_titles,
    read_items,
)


def written(tmp_path: Path, **columns: object) -> Path:
    path = tmp_path / "f.parquet"
    pd.DataFrame(columns).to_parquet(path)
    return path


def test_times_of_every_unit_and_zone_become_microseconds_utc(tmp_path: Path) -> None:
    naive = pd.DatetimeIndex(["2026-01-02", "2026-01-01"])
    for times in (naive, naive.as_unit("ms"), naive.tz_localize("UTC"), naive.tz_localize("Asia/Tokyo")):
        loaded = load_interactions(written(tmp_path, user_id=["a", "b"], item_id=[1, 2], occurred_at=times))
        expected = (times.tz_convert("UTC") if times.tz else times.tz_localize("UTC")).as_unit("us").astype("int64")
        assert loaded.interactions.at_us.tolist() == sorted(expected)
        assert loaded.interactions.has_clock


def test_integers_only_order_and_ties_keep_the_files_order(tmp_path: Path) -> None:
    loaded = load_interactions(written(tmp_path, user_id=[7, 7, 7], item_id=[3, 2, 1], occurred_at=[5, 5, 1]))
    found = loaded.interactions
    assert not found.has_clock
    assert found.items.external(found.item) == ["1", "3", "2"]
    assert loaded.item_values.tolist() == [1, 3, 2]


def test_events_known_later_count_from_their_own_time_and_order_by_event_id(tmp_path: Path) -> None:
    at = pd.to_datetime(["2026-01-01"] * 2)
    later = at + pd.Timedelta(hours=1)
    path = written(
        tmp_path, user_id=["a", "a"], item_id=["x", "y"], occurred_at=later, known_at=at, event_id=["2", "1"]
    )
    found = load_interactions(path).interactions
    assert found.items.external(found.item) == ["y", "x"]
    assert (found.at_us == found.known_us).all()


def test_a_repeat_is_what_the_user_did_to_the_item_before_in_the_order_known(tmp_path: Path) -> None:
    columns: dict[str, object] = {
        "user_id": ["a", "a", "a", "b", "a", "a"],
        "item_id": ["x", "x", "y", "x", "x", "x"],
        "action": ["view", "view", "view", "view", "like", "view"],
        "occurred_at": [1, 2, 3, 4, 5, 6],
        "known_at": [9, 7, 7, 7, 7, 7],
        "event_id": ["p", "r", "s", "t", "u", "q"],
    }
    found = load_interactions(written(tmp_path, **columns)).interactions
    assert found.repeat.tolist() == [True, True, False, False, False, False]
    del columns["known_at"]
    found = load_interactions(written(tmp_path, **columns)).interactions
    assert found.repeat.tolist() == [False, True, False, False, False, True]
    columns["repeat"] = [False, False, True, False, False, False]
    reverse = {name: list(entries)[::-1] for name, entries in columns.items() if isinstance(entries, list)}
    found = load_interactions(written(tmp_path, **reverse)).interactions
    assert found.repeat.tolist() == columns["repeat"], "what a snapshot says goes along with its rows"
    columns["repeat"] = [False, None, True, False, False, False]
    with pytest.raises(ContractError, match="repeat"):
        load_interactions(written(tmp_path, **columns))


@pytest.mark.parametrize(
    ("values", "actions", "expected"),
    [
        (None, None, [1.0, 1.0]),
        ([3.5, 5.0], None, [0.7, 1.0]),
        ([2.0, 9.0], None, [-0.4, 0.9]),
        ([0.5, None], ["watch", "purchase"], [1.0, 1.0]),
        ([1.0, -1.0], ["favorite", "favorite"], [2.0, -2.0]),
        ([1.0, 1.0], ["search", "dislike"], [0.0, -1.0]),
    ],
)
def test_actions_and_values_become_weights(
    tmp_path: Path, values: list[float] | None, actions: list[str] | None, expected: list[float]
) -> None:
    columns: dict[str, object] = {"user_id": ["a", "b"], "item_id": ["x", "y"], "occurred_at": [1, 2]}
    if values is not None:
        columns["value"] = values
    if actions is not None:
        columns["action"] = actions
    np.testing.assert_allclose(load_interactions(written(tmp_path, **columns)).interactions.weight, expected)


def test_an_item_that_stands_twice_is_named_as_a_person_writes_it(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="item_id holds 1 twice, again in row 2, and 1 repeated ones"):
        read_items(written(tmp_path, item_id=np.array([1, 2, 1], dtype=np.int32)))


def test_actions_of_which_none_is_known_are_named(tmp_path: Path) -> None:
    rows = {"user_id": list("abcdefg"), "item_id": list("tuvwxyz"), "occurred_at": range(7)}
    path = written(tmp_path, **rows, action=["wach", "wach", "a", "b", "c", "d", "e"])
    loaded = load_interactions(path)
    with pytest.raises(ContractError, match=r"action holds only 'wach', 'a', 'b', 'c', 'd' and 1 more, .* cart, click"):
        loaded.require_weights(path)
    (said := tmp_path / "weights.yaml").write_text("actions: {wach: {rule: constant, base: 1}}\n")
    assert loaded.weighed_by(np.arange(7), load_weights(said)).require_weights(path).interactions.weight.sum() == 2
    known = load_interactions(written(tmp_path, **rows, action=["wach"] * 6 + ["view"]))
    assert known.require_weights(path) is known


@pytest.mark.parametrize("cut", [Cut(cutoff=40), Cut(holdout=0.5)])
def test_what_is_after_a_cut_does_not_move_the_weights(tmp_path: Path, cut: Cut) -> None:
    def weighed(later: list[str], value: float) -> Loaded:
        actions = [*["view"] * 32, *["purchase"] * 4, *["rating"] * 4, *later]
        path = written(
            tmp_path,
            user_id=["u"] * 80,
            item_id=[str(n) for n in range(80)],
            action=actions,
            value=[3.0 if action == "rating" else None for action in actions[:40]] + [value] * 40,
            occurred_at=range(80),
        )
        loaded = load_interactions(path)
        return loaded.weighed_by(cut.split(loaded.interactions).history)

    one, other = weighed(["view"] * 40, 1.0), weighed(["rating"] * 40, 9.0)
    assert one.weights == other.weights
    assert one.weights.actions["purchase"].base == 4.0, "a look is eight times as frequent before the cut"
    assert (one.weights.rating_scale, one.shape.events["view"]) == (5.0, 32)
    for name in ("weight", "strong", "rating"):
        before, same = (getattr(loaded.interactions, name)[:40] for loaded in (one, other))
        np.testing.assert_array_equal(before, same, err_msg=name)
    assert one.interactions.weight[[0, 32, 79]].tolist() == [1.0, 4.0, 1.0]
    assert one.take(np.array([32])).weighed_by(np.array([0])).interactions.weight.tolist() == [1.0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": ["a"], "occurred_at": [1]}, r"columns \['item_id'\] are missing"),
        ({"user_id": [], "item_id": [], "occurred_at": []}, "no rows"),
        (
            {"user_id": ["a", None], "item_id": [1, 2], "occurred_at": [1, 2]},
            "empty in 1 rows, first in row 1",
        ),
        ({"user_id": [1.5], "item_id": [1], "occurred_at": [1]}, "user_id is float64; ids are strings or integers"),
        (
            {"user_id": [1], "item_id": [1], "occurred_at": ["now"]},
            r"occurred_at is str; expected timestamps .* pd\.to_datetime",
        ),
        (
            {"user_id": [1], "item_id": [1], "occurred_at": [1.0]},
            r"occurred_at is float64; expected .*; of numbers frame\['occurred_at'\]\.astype\('int64'\)",
        ),
        (
            {"user_id": [1, 2], "item_id": [1, 1], "occurred_at": np.array([5, 2**63 + 1], np.uint64)},
            "occurred_at holds 9223372036854775809 in row 1; expected integers below 2",
        ),
        (
            {"user_id": [1], "item_id": [1], "occurred_at": [pd.Timestamp("2026-01-01")], "known_at": [1767225600]},
            "occurred_at holds times and column known_at integers that only order",
        ),
        ({"user_id": [True], "item_id": [1], "occurred_at": [1]}, "user_id is bool; ids .*, not True as in row 0"),
        ({"user_id": [1.0], "item_id": [1], "occurred_at": [1]}, r"strings or integers: frame\['user_id'\]\.astype"),
        ({"user_id": [1], "item_id": [["x"]], "occurred_at": [1]}, "item_id is object; ids are strings or integers"),
        ({"user_id": ["a", ""], "item_id": [1, 2], "occurred_at": [1, 2]}, "user_id holds an id of 0 .* in row 1;"),
        ({"user_id": [1], "item_id": ["x" * 257], "occurred_at": [1]}, "item_id holds an id of 257 .* in row 0;"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    path = written(tmp_path, **columns)
    with pytest.raises(ContractError, match=message) as refused:
        load_interactions(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"action": ["view", None]}, "column action is empty in 1 rows, first in row 1; drop them"),
        ({"action": [None, None]}, "column action is empty in 2 rows, first in row 0; drop them"),
        ({"value": [None, "five"]}, r"column value holds 'five' in row 1; expected numbers: pd\.to_numeric"),
        ({"value": [4.0, float("inf")]}, "column value holds inf in row 1; expected finite numbers"),
        ({"value": [None, None]}, "column value is empty in all 2 rows, so that no rating shows what is liked"),
    ],
)
def test_actions_and_values_that_cannot_be_weighed_are_refused_by_row(
    tmp_path: Path, columns: dict[str, object], message: str
) -> None:
    path = written(tmp_path, user_id=["a", "b"], item_id=["x", "y"], occurred_at=[2, 1], **columns)
    with pytest.raises(ContractError, match=message):
        load_interactions(path)


def test_a_file_that_is_no_parquet_is_named_with_what_makes_it_one(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id\n")
    with pytest.raises(ContractError, match=r"cannot be read as parquet: .*pd\.read_csv\('.*x\.csv'\)\.to_parquet\("):
        load_interactions(tmp_path / "x.csv")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ContractError, match=r"cannot be read as parquet: (?!it is none)"):
        load_interactions(tmp_path / "x.parquet")
    with pytest.raises(ContractError, match=r"y\.parquet: no such file"):
        load_interactions(tmp_path / "y.parquet")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"item_id": ["x", None]}, "column item_id is empty in 1 rows, first in row 1; drop them"),
        ({"item_id": ["x", ""]}, "item_id holds an id of 0 characters in row 1"),
        ({"item_id": ["x", "y"], "categories": [1, 2]}, "column categories holds 1 in row 0; expected a list of texts"),
        (
            {"item_id": ["x", "y"], "deleted": ["no", "no"]},
            "column deleted holds 'no' in row 0; expected true or false",
        ),
        ({"item_id": ["x", "y"], "deleted": [0, 2]}, "column deleted holds 2 in row 1; expected true or false"),
    ],
)
def test_a_broken_items_file_is_refused_by_row(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        catalogue_ids(written(tmp_path, **columns))


@pytest.mark.parametrize("deleted", [[True, False, None], [1, 0, 0], [1, 0, None]])
def test_deleted_items_are_those_that_say_so(tmp_path: Path, deleted: list[object]) -> None:
    assert catalogue_ids(written(tmp_path, item_id=[1, 2, 3], deleted=deleted)) == ["2", "3"]


def test_a_catalogue_with_two_rows_of_an_item_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"item_id": ["a", "b", "a"], "title": ["1", "2", "3"]}).to_parquet(path := tmp_path / "items.parquet")
    with pytest.raises(ContractError, match=r"column item_id holds 'a' twice, again in row 2, and 1 repeated"):
        read_items(path)


def test_a_cell_of_one_value_is_that_category() -> None:
    assert category_list(np.array(["b", "a", "b"])) == ["b", "a"]
    assert category_list(np.True_) == ["True"]


@pytest.mark.parametrize("entries", [["b|a", "", None], [["b", "a"], [], None]])
def test_categories_come_as_lists_or_text(tmp_path: Path, entries: list[object]) -> None:
    path = written(tmp_path, item_id=["x", "y", "z"], categories=entries, title=["X", None, "Z"])
    found = load_categories(path, IdMap(["w", "x"]))
    assert found.names == ("a", "b")
    assert found.offsets.tolist() == [0, 0, 2]
    assert [found.names[index] for index in found.index] == ["b", "a"]
    assert load_titles(path) == {"x": "X", "z": "Z"}
    assert load_titles(None) == {}


def test_a_blank_title_is_none(tmp_path: Path) -> None:
    assert load_titles(written(tmp_path, item_id=["x", "y", "z"], title=["X", "", " \n"])) == {"x": "X"}
