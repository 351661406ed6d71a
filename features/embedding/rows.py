"""Vectors and weighed terms as the table `item_vectors` keeps them, and back: bytes, little endian."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from features.text.encoder import Embedded
from features.text.terms import Terms

HALF: Final = np.dtype("<f2")
INDEX: Final = np.dtype("<i4")
_TERM_BYTES: Final = INDEX.itemsize + HALF.itemsize


def packed(embedded: Embedded) -> list[tuple[bytes, bytes]]:
    """Return the columns `vector` and `terms` of each document."""
    vectors = np.ascontiguousarray(embedded.vectors, dtype=HALF)
    index, value = embedded.terms.index.astype(INDEX).tobytes(), embedded.terms.value.astype(HALF).tobytes()
    bounds = embedded.terms.offsets.tolist()
    return [
        (vector.tobytes(), index[4 * begin : 4 * end] + value[2 * begin : 2 * end])
        for vector, begin, end in zip(vectors, bounds, bounds[1:], strict=False)
    ]


def nothing(dimension: int) -> tuple[bytes, bytes]:
    """Return the columns of a text of which an encoder could make nothing: zeros, and no term."""
    return bytes(HALF.itemsize * dimension), b""


def unpacked_vectors(vectors: Sequence[bytes], dimension: int) -> npt.NDArray[np.float16]:
    """Return float16 (n, dimension) of the columns `vector`."""
    return np.frombuffer(b"".join(vectors), dtype=HALF).reshape(len(vectors), dimension).astype(np.float16)


def unpacked_terms(terms: Sequence[bytes]) -> Terms:
    """Return the weighed terms of the columns `terms`, end to end."""
    counts = np.fromiter((len(one) // _TERM_BYTES for one in terms), np.int64, len(terms))
    cuts = counts.tolist()
    index = b"".join(one[: INDEX.itemsize * cut] for one, cut in zip(terms, cuts, strict=True))
    value = b"".join(one[INDEX.itemsize * cut :] for one, cut in zip(terms, cuts, strict=True))
    return Terms(
        np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
        np.frombuffer(index, dtype=INDEX).astype(np.int32),
        np.frombuffer(value, dtype=HALF).astype(np.float32),
    )
