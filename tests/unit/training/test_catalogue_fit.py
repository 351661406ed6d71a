"""How a catalogue file fits interactions: what is counted, and what is said of it."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from tests.support.synthetic import make_interactions
from training.catalogue_fit import Fit, fit_of, without_texts
from training.data import Interactions

DATA = Path("rows.parquet")


@pytest.fixture(scope="module")
def interactions() -> Interactions:
    """Return interactions with ten items, i0 to i9."""
    return make_interactions(n_users=20, n_items=10)


def found(tmp_path: Path, interactions: Interactions, ids: Sequence[str], **columns: object) -> Fit:
    pd.DataFrame({"item_id": list(ids)} | columns).to_parquet(tmp_path / "items.parquet")
    return fit_of(tmp_path / "items.parquet", DATA, interactions)


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (10, None),
        (8, None),
        (7, r"items\.parquet knows only 7 of the 10 items in rows\.parquet \(70%\): .*, such as 'i7'\."),
        (0, r"items\.parquet: none of its 3 ids, such as 'new0', occurs in rows\.parquet, where the first is 'i0'"),
    ],
)
def test_the_share_of_items_met_is_always_said_and_warned_of_where_it_is_small(
    tmp_path: Path, interactions: Interactions, known: int, told: str | None
) -> None:
    ids = [f"i{number}" for number in range(known)] + [f"new{number}" for number in range(3)]
    fit = found(tmp_path, interactions, ids)
    assert f"knows {known} of the 10 items that were met ({known * 10:.1f}%)" in fit.line
    assert fit.to_json() == {"items": known + 3, "met": 10, "known": known}
    assert (fit.warning is None) == (told is None)
    if told is not None:
        assert pd.Series([fit.warning]).str.contains(told).all(), fit.warning


def test_an_empty_catalogue_knows_nothing(tmp_path: Path, interactions: Interactions) -> None:
    fit = found(tmp_path, interactions, [])
    assert str(fit.warning).endswith(
        "none of its 0 ids occurs in rows.parquet, where the first is 'i0': nothing that it says was of use."
    )


def test_new_items_need_words_of_items_that_were_met(tmp_path: Path, interactions: Interactions) -> None:
    bare = found(tmp_path, interactions, ["i1", "new"], title=["", "only the new one has a title"])
    assert "nothing new can be listed" in str(without_texts(bare.path, interactions))
    told = found(tmp_path, interactions, ["i1", "new"], title=["A title", ""])
    assert without_texts(told.path, interactions) is None
