"""How inner loops become machine code: by Numba, at their first call, kept on disk for every later process."""

from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=np.generic)


class Lists(NamedTuple):
    """Lists of different lengths end to end, as loops read them: list i is entries[offsets[i]:offsets[i + 1]]."""

    offsets: npt.NDArray[np.int64]
    entries: npt.NDArray[np.int32]


def compiled(loop: Callable[P, R]) -> Callable[P, R]:
    """Return a function over arrays and numbers compiled to machine code, which runs without the interpreter's lock.

    What it computes is what the Python source says, in the same order: no fast-math, no threads of its own.
    """
    return cast("Callable[P, R]", njit(cache=True, nogil=True)(loop))


def read_only(array: npt.NDArray[T]) -> npt.NDArray[T]:
    """Return a plain view of an array, mapped or not, that nobody writes to: loops are compiled for one kind only."""
    view = np.asarray(array).view(np.ndarray)
    view.flags.writeable = False
    return view
