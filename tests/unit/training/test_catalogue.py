from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts.ids import IdMap
from features.contracts.times import to_us
from training.catalogue import came_at, load_facts, published_after

ITEMS = IdMap(["a", "b", "c", "never listed"])


def written(folder: Path, **columns: object) -> Path:
    pd.DataFrame({"item_id": ["c", "stranger", "b", "a"], **columns}).to_parquet(folder / "items.parquet")
    return folder / "items.parquet"


def test_nothing_is_known_without_a_file_or_columns(tmp_path: Path) -> None:
    for path in (None, written(tmp_path)):
        facts = load_facts(path, ITEMS)
        assert facts.price.dtype == facts.year.dtype == np.float32
        assert np.isnan(facts.price).all()
        assert np.isnan(facts.year).all()


def test_prices_are_read_from_the_column_and_then_from_the_attributes(tmp_path: Path) -> None:
    path = written(
        tmp_path, price=[-1.0, 3.0, None, 0.0], attributes=['{"price": 1}', "{}", '{"price": "2.5", "x": []}', "no"]
    )
    np.testing.assert_array_equal(load_facts(path, ITEMS).price, np.array([0.0, 2.5, np.nan, np.nan], np.float32))


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        ("year", [1999, 1, -750, 2001], (2001, -750, 1999)),
        ("release_date", [819_590_400, 0, 0, 1_262_304_000_000], (2010, None, 1995)),
        ("release_date", ["1995-11-22", "", "soon", "2010"], (2010, None, 1995)),
        (
            "published_at",
            pd.Series(["1995-12-31", None, None, "2010-01-01"], dtype="datetime64[us]"),
            (2010, None, 1995),
        ),
        ("title", ["Up (1995)", "", "Up 2 (2009) (again)", "Long (2010\u2013 )"], (2010, None, 1995)),
        ("attributes", ['{"year": "1995"}', None, '{"year": null}', '{"release_date": "2010-05"}'], (2010, None, 1995)),
    ],
)
def test_years_are_read_in_every_form(
    tmp_path: Path, name: str, values: object, wanted: tuple[float | None, ...]
) -> None:
    expected = [np.nan if year is None else year for year in (*wanted, None)]
    np.testing.assert_array_equal(load_facts(written(tmp_path, **{name: values}), ITEMS).year, expected)


def test_a_year_that_is_told_goes_before_the_title_and_the_title_before_its_listing(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        title=["x (1990)", "", "y (1991)", "z"],
        year=[1980, None, None, None],
        published_at=pd.to_datetime(["2020-01-01"] * 4, utc=True),
    )
    np.testing.assert_array_equal(load_facts(path, ITEMS).year, [2020, 1991, 1980, np.nan])


def test_items_are_published_after_a_time_where_the_file_says_so(tmp_path: Path) -> None:
    times = pd.to_datetime(pd.Series(["2026-01-03", "2026-01-03", None, "2026-01-02"]), utc=True)
    at_us = to_us(datetime(2026, 1, 2, tzinfo=UTC))
    path = written(tmp_path, published_at=times)
    assert published_after(path, ITEMS, at_us).tolist() == [False, False, True, False]
    assert not published_after(None, ITEMS, at_us).any()
    assert not published_after(written(tmp_path, published_at=[None] * 4), ITEMS, at_us).any()
    assert not published_after(written(tmp_path, title=["a", "b", "c", "d"]), ITEMS, at_us).any()


@pytest.mark.parametrize(
    "values",
    [
        ["2026-01-03T00:00:00Z", "soon", "1995-11-22", ""],
        ["Jan 3, 2026", "2026-13-45", "1995", None],
        [date(2026, 1, 3), None, date(1995, 11, 22), None],
        [1_767_398_400, None, 1995, np.nan],
        [1_767_398_400_000, 10**18, 816_998_400_000, None],
    ],
)
def test_times_of_publication_are_read_in_every_form_that_years_are(tmp_path: Path, values: list[object]) -> None:
    path = written(tmp_path, published_at=values)
    came = came_at(path, ITEMS)
    assert came.astype("datetime64[Y]").astype(str).tolist() == ["NaT", "1995", "2026", "NaT"]
    assert came[2] == np.datetime64("2026-01-03")
    assert published_after(path, ITEMS, to_us(datetime(2026, 1, 2, tzinfo=UTC))).tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("first_known", "late"),
    [
        (["2026-01-03", "2026-01-01", "2026-01-04", "2026-01-02"], "bc"),
        # The catalogue was imported as a whole, and "b" came later: what was there before the import nothing tells.
        (["2026-01-03", "2026-01-03", "2026-01-04", "2026-01-03"], "b"),
    ],
)
def test_items_that_the_catalogue_did_not_know_at_a_time_came_after_it_whatever_they_say_of_themselves(
    tmp_path: Path, first_known: list[str], late: str
) -> None:
    times = pd.to_datetime(pd.Series(first_known), utc=True)
    published = pd.to_datetime(pd.Series([None, None, "1995-01-01", None]), utc=True)
    path = written(tmp_path, published_at=published, first_known_at=times)
    found = published_after(path, ITEMS, to_us(datetime(2026, 1, 2, tzinfo=UTC)))
    assert [item for item, after in zip("abc", found.tolist(), strict=False) if after] == list(late)
