"""What lists say of their sources."""

import pytest

from serving.explain import reason_of
from training.bundle.sources import BY_NO_ITEM, SOURCES


@pytest.mark.parametrize("source", SOURCES)
def test_a_title_is_named_where_one_item_of_the_history_stands_behind(source: str) -> None:
    assert ("Heat" in reason_of(source, "Heat")) == (source not in BY_NO_ITEM)
