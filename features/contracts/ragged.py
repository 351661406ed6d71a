"""Lists of different lengths end to end in one array: list i stands at offsets[i]:offsets[i + 1]."""

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def offsets_of(counts: npt.ArrayLike) -> Integers:
    """Return where each list begins and the last one ends, int64 (n + 1,), from the lists' lengths.

    >>> offsets_of([2, 0, 1])
    array([0, 2, 2, 3])
    """
    lengths = np.asarray(counts, dtype=np.int64)
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def places(counts: npt.NDArray[np.integer]) -> Integers:
    """Return for each entry of lists of some lengths which of its list it is, from 0.

    >>> places(np.array([2, 0, 3]))
    array([0, 1, 0, 1, 2])
    """
    offsets = offsets_of(counts)
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)


def entries_of(offsets: npt.NDArray[np.int64], lists: npt.NDArray[np.integer]) -> tuple[Integers, Integers]:
    """Return the entries of some lists end to end: to which of these lists each belongs, and where it stands.

    >>> entries_of(np.array([0, 2, 2, 5]), np.array([2, 0]))
    (array([0, 0, 0, 1, 1]), array([2, 3, 4, 0, 1]))
    """
    begin = offsets[lists]
    counts = offsets[lists + 1] - begin
    owner = np.repeat(np.arange(len(lists)), counts)
    return owner, np.arange(len(owner)) + (begin - offsets_of(counts)[:-1])[owner]
