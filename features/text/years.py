"""What a text says beside its year: "(1979)" at the end of a title is most of what the vector of a short one holds."""

from typing import Final, TypeVar, cast

import numpy as np
import numpy.typing as npt

from features.facts_of import END_OF_TITLE
from features.text.documents import Document
from features.text.encoder import Encoder

Vector = TypeVar("Vector", npt.NDArray[np.float16], npt.NDArray[np.float32])

FADED: Final = 1e-3
"""Length below which nothing is left of a vector that is of its year alone."""


def beside_year(encoder: Encoder, vector: Vector, title: str) -> Vector:
    """Return a vector (dimension,) without what the year at the end of its title says, of length 1 or zero.

    So what is alike is alike for its words: among titles such as `Name (1979)` nine of the ten nearest by the whole
    vector are of the same year. For what people are shown as alike alone: what is liked hangs on the year, too.
    """
    ending = END_OF_TITLE.search(title)
    if ending is None:
        return vector
    [along] = encoder.encode_documents([Document(title=f"({ending[1]})")])
    left = vector - (vector @ along) * along
    length = float(np.linalg.norm(left))
    if length > FADED:
        left /= length
    else:
        left[:] = 0
    return cast("Vector", left.astype(vector.dtype))
