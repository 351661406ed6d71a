"""Which cores a worker uses: its event loop may stay on one, and threads for all else go where there is room."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final

ALLOWED: Final = frozenset(os.sched_getaffinity(0))
"""Cores that this process, and those that it forks, may use."""


def stay_on_one(place: int) -> None:
    """Keep the calling thread on one core, workers by their places on different ones as far as there are enough.

    While it waits for Postgres or a request the kernel moves a thread to where it is woken, and what it was about to
    read lies in the caches of another core. Threads that it begins from now on stay there, too, but for `roaming` ones.
    """
    cores = sorted(ALLOWED)
    os.sched_setaffinity(0, {cores[place % len(cores)]})


def roaming(most: int, name: str) -> ThreadPoolExecutor:
    """Return up to so many threads for what would hold up the event loop: on any core, whoever begins them."""
    return ThreadPoolExecutor(most, thread_name_prefix=name, initializer=os.sched_setaffinity, initargs=(0, ALLOWED))
