"""Native thread pools, to be pinned before NumPy, FAISS or LightGBM are imported."""

import os
from typing import Final

_PINNED: Final = {
    # One request is one thread's work: more of them spin, wait for each other and spoil the slowest answers.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}


def pin_threads() -> None:
    """Keep native libraries to one thread per call; variables that are set already win."""
    for name, value in _PINNED.items():
        os.environ.setdefault(name, value)
