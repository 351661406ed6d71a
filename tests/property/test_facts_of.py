"""A server reads price and year of an item by the same rules as training reads them from files."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.contracts.ids import IdMap
from features.facts_of import FACT_NAMES, facts_of
from training.catalogue import load_facts

NUMBERS = st.integers(-(10**14), 10**14) | st.floats(-1e14, 1e14) | st.integers(-6000, 2300)
DATES = st.datetimes(datetime(1, 1, 2), datetime(9998, 1, 1))  # noqa: DTZ001  # text only
WORDS = (
    st.text(max_size=8)
    | st.from_regex(r"\A\s*[+-]?\d{0,5}\.?\d{0,3}(e[+-]?\d)?\s*\Z")
    | NUMBERS.map(str)
    | DATES.map(lambda at: at.isoformat())
    | st.sampled_from(
        [
            "1_000",
            "0x10",
            "nan",
            "-inf",
            "\uff11\uff19\uff19\uff15",
            "\u0661\u0669\u0669\u0665-02",
            "1995-02",
            " 1995 x",
            "19955",
            "0",
        ]
    )
)
VALUES = st.none() | st.booleans() | NUMBERS | WORDS | st.lists(st.integers(), max_size=2) | st.just({"a": 1})
TITLES = st.text(max_size=8) | st.from_regex(r"\AHeat \(\d{3,4}( ?[-\u2013] ?\d{0,4})?\) ?\Z")
ITEMS = st.tuples(
    TITLES,
    st.dictionaries(st.sampled_from([*FACT_NAMES, "other"]), VALUES, max_size=4),
    st.none() | st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ITEMS, min_size=1, max_size=5))
def test_one_by_one_and_by_columns_give_the_same_numbers(
    items: list[tuple[str, dict[str, Any], datetime | None]],
) -> None:
    ids = [f"i{number}" for number in range(len(items))]
    frame = pd.DataFrame(
        {
            "item_id": ids,
            "title": [title for title, _, _ in items],
            "attributes": [msgspec.json.encode(attributes).decode() for _, attributes, _ in items],
            "published_at": pd.Series([at for _, _, at in items], dtype="datetime64[us, UTC]"),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.parquet"
        frame.to_parquet(path)
        known = load_facts(path, IdMap(ids))
    ours = np.array([facts_of(*item) for item in items]).astype(np.float32)
    np.testing.assert_array_equal(ours[:, 0], known.price)
    np.testing.assert_array_equal(ours[:, 1], known.year)


def test_the_year_of_a_moment_is_that_of_its_instant_in_utc() -> None:
    new_year = datetime(2020, 1, 1, tzinfo=UTC)
    assert facts_of("", {}, new_year)[1] == 2020
    assert facts_of("", {}, new_year - timedelta(microseconds=1))[1] == 2019
    assert facts_of("A (1999)", {"year": 0}, new_year)[1] == 1999
