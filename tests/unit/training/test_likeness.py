"""Items whose texts are near: from the table of neighbours, and beyond it where there is time or little to look at."""

import numpy as np
import pytest

from tests.support.synthetic import trained_on_texts
from training.bundle import likeness
from training.bundle.likeness import similar_items
from training.bundle.sources import CONTENT


def test_what_is_wanted_soon_is_not_looked_for_among_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = trained_on_texts()[1]
    assert parts.content is not None
    item = int(np.flatnonzero(parts.content.has_text)[0])
    table = parts.tables[CONTENT]
    tabled = table.index[table.offsets[item] : table.offsets[item + 1]]
    eligible = np.ones(len(parts.items), dtype=bool)
    eligible[tabled] = False  # as a filter may leave none of the neighbours

    few, _ = similar_items(parts, item, 3, eligible, "content", soon=True)
    monkeypatch.setattr(likeness, "SOON_LOOKED_THROUGH", 0)
    none, _ = similar_items(parts, item, 3, eligible, "content", soon=True)
    found, scores = similar_items(parts, item, 3, eligible, "content")

    assert len(none) == 0
    assert few.tolist() == found.tolist()
    assert eligible[found].all()
    assert item not in found
    near = parts.content.vectors.astype(np.float32) @ parts.content.vectors[item].astype(np.float32)
    near[~eligible] = 0
    near[item] = 0
    assert scores == pytest.approx(np.sort(near)[::-1][: len(scores)])
