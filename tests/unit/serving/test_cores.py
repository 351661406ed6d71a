"""A worker's event loop stays on one core; what it hands to threads does not have to."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pytest

from serving.cores import ALLOWED, roaming, stay_on_one

T = TypeVar("T")
cores = partial(os.sched_getaffinity, 0)


def apart(work: Callable[[], T]) -> T:
    """Return what a thread of its own does: where it may run is no other thread's matter."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(work).result()


@pytest.mark.parametrize("place", [0, 1, 7])
def test_a_thread_stays_on_a_core_and_those_that_it_begins_roam(place: int) -> None:
    def pinned() -> tuple[set[int], set[int], set[int]]:
        stay_on_one(place)
        with roaming(1, "test") as executor:
            return cores(), executor.submit(cores).result(), apart(cores)

    own, roams, inherits = apart(pinned)
    assert own == inherits == {sorted(ALLOWED)[place % len(ALLOWED)]}
    assert roams == ALLOWED == cores()
