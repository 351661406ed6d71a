"""What texts say beside their year: "(1979)" at the end of a title is most of what the vector of a short one holds."""

from collections.abc import Sequence
from typing import Final, TypeVar, cast

import numpy as np
import numpy.typing as npt

from features.facts_of import END_OF_TITLE
from features.text.documents import Document
from features.text.encoder import Encoder

Vectors = TypeVar("Vectors", npt.NDArray[np.float16], npt.NDArray[np.float32])

FADED: Final = 1e-3
"""Length below which nothing is left of a vector that is of its year alone."""


def beside_years(encoder: Encoder, vectors: Vectors, titles: Sequence[str]) -> Vectors:
    """Return vectors (n, dimension) without what the year at the end of each title says, of length 1 or zero.

    So what is alike is alike for its words: among titles such as `Name (1979)` nine of the ten nearest by the whole
    vector are of the same year. For what people are shown as alike alone: what is liked hangs on the year, too.
    """
    told: list[str] = [_year_of(title) for title in titles]
    years = {year: number for number, year in enumerate(sorted({*told} - {""}))}
    if not years:
        return vectors
    along = encoder.encode_documents([Document(title=f"({year})") for year in years]).astype(np.float32)
    rows = np.array([row for row, year in enumerate(told) if year], dtype=np.int64)
    left = vectors.astype(np.float32)
    own = along[[years[told[row]] for row in rows.tolist()]]
    left[rows] -= (left[rows] * own).sum(axis=1, keepdims=True) * own
    length = np.linalg.norm(left, axis=1, keepdims=True)
    left = np.where(length > FADED, left / np.maximum(length, FADED), np.float32(0))
    return cast("Vectors", left.astype(vectors.dtype))


def _year_of(title: str) -> str:
    ending = END_OF_TITLE.search(title)
    return "" if ending is None else ending[1]
