"""Airflow's executor: that of one machine, whose workers end with their scheduler."""

import ctypes
import os
import signal
from typing import Final

from airflow.executors.local_executor import LocalExecutor

_PR_SET_PDEATHSIG: Final = 1


class MarqueeExecutor(LocalExecutor):
    """Ties its workers to the scheduler, and each task to its worker.

    A scheduler that is killed leaves LocalExecutor's workers to themselves for good, and the one that follows begins
    their tasks anew beside them. Of a worker that ended nothing more is heard, and its task is begun once.
    """

    def start(self) -> None:
        """Start the workers; called once by the scheduler."""
        os.register_at_fork(after_in_child=_end_with_parent)
        super().start()


def _end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends.

    Raises
    ------
    OSError
        If the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
