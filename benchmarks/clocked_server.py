"""``python -m benchmarks.clocked_server``: the API server on a clock that jumps when it is told to by a signal.

A clock of the machine cannot be set for one process alone; here SIGUSR1 sets the server's a day ahead, SIGUSR2 a day
back from the true time, and SIGHUP right again. All else is `python -m serving`.
"""

import signal
import time
from typing import Final

from serving.threads import pin_threads
from training.bundle.lean import leave_out_conveniences

pin_threads()
leave_out_conveniences()

from serving import assemble  # noqa: E402  # NumPy and LightGBM look around when they are imported
from serving.command import app  # noqa: E402

DAY_US: Final = 86_400_000_000
OFFSETS_US: Final = {signal.SIGUSR1: DAY_US, signal.SIGUSR2: -DAY_US, signal.SIGHUP: 0}
_offset_us = [0]


def jumping_us() -> int:
    """Return the moment of this server's clock, microseconds since 1970 UTC."""
    return time.time_ns() // 1000 + _offset_us[0]


def _jump(number: int, _frame: object) -> None:
    _offset_us[0] = OFFSETS_US[signal.Signals(number)]


if __name__ == "__main__":
    for wanted in OFFSETS_US:
        signal.signal(wanted, _jump)
    assemble.now_us = jumping_us  # type: ignore[attr-defined]  # where the real one is handed to all parts
    app()
