"""The parent of several server processes: starts them, replaces those that die, restarts them in turn, ends them.

uvicorn's own supervisor restarts a dying worker without a pause, ends the server when one fails to start, and is deaf
while it restarts; and its workers outlive it.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

log = structlog.get_logger(__name__)

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
STARTUP_FAILURE: Final = 3
"""Exit code where no worker ever came up, as uvicorn has it."""
READY_WITHIN_S: Final = 300.0
"""With a million items two workers took 67 s (measured, on two cores with five times as much to do)."""
STEADY_S: Final = 10.0
"""Who lived this long died for a reason of its own, and is replaced at once."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 10.0
_TICK_S: Final = 0.1


@dataclass(eq=False, slots=True)
class Worker:
    """A process that serves.

    Attributes
    ----------
    pid
        Of the process.
    place
        A small number that no other living worker has.
    ready_from
        Descriptor from which a byte comes once it serves.
    started_s
        When it was forked, monotonic.
    replaces
        Whom it takes over from once it is ready.
    ends_by_s
        When it is killed: it was told to end.
    """

    pid: int
    place: int
    ready_from: int
    started_s: float
    ready: bool = False
    replaces: "Worker | None" = None
    ends_by_s: float | None = None


class Supervisor:
    """Keeps a number of workers serving.

    Parameters
    ----------
    wanted
        How many workers.
    start
        Starts a worker in a place; returns its process id and a descriptor, not blocking, as `Worker.ready_from`.
    buried
        Told the place of a worker that is gone.
    end_within_s
        How long a worker may take to end; then it is killed.
    ending
        Called again and again once all workers were told to end.
    clock_s
        Monotonic time in seconds.
    """

    def __init__(
        self,
        wanted: int,
        start: Callable[[int], tuple[int, int]],
        buried: Callable[[int], None],
        *,
        end_within_s: float,
        ending: Callable[[], None] = lambda: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.workers: list[Worker] = []
        self._wanted = wanted
        self._start = start
        self._buried = buried
        self._end_within_s = end_within_s
        self._ending = ending
        self._clock_s = clock_s
        self._to_replace: list[Worker] = []
        self._failures = 0
        self._next_start_s = clock_s()
        self._was_ready = False
        self._code: int | None = None

    def run(self) -> int:
        """Supervise until SIGTERM or SIGINT and the end of all workers; return the exit code."""
        with _blocked():
            while self._code is None or self.workers:
                self.step()
                caught = signal.sigtimedwait(SIGNALS, _TICK_S)
                if caught is not None:
                    self.heed(caught.si_signo)
        return self._code

    def heed(self, number: int) -> None:
        """Do as a signal says."""
        if number in {signal.SIGTERM, signal.SIGINT}:
            self._end(0)
        elif number == signal.SIGHUP:
            log.info("rolling_restart", workers=len(self.workers))
            self._to_replace = [worker for worker in self.workers if worker.ends_by_s is None]

    def step(self) -> None:
        """Look after all workers once."""
        for worker in list(self.workers):
            self._look_at(worker)
        if self._code is not None:
            self._ending()
        elif self._clock_s() >= self._next_start_s:
            self._fill()
            self._replace()

    def _look_at(self, worker: Worker) -> None:
        pid, status = os.waitpid(worker.pid, os.WNOHANG)
        if pid:
            self._bury(worker, os.waitstatus_to_exitcode(status))
            return
        now_s = self._clock_s()
        if not worker.ready and _said_ready(worker.ready_from):
            worker.ready = self._was_ready = True
            log.info("worker_ready", pid=worker.pid, took_s=round(now_s - worker.started_s, 2))
            self._take_over(worker)
        late = not worker.ready and now_s - worker.started_s > READY_WITHIN_S
        if late or (worker.ends_by_s is not None and now_s > worker.ends_by_s):
            log.warning("worker_killed", pid=worker.pid, ready=worker.ready)
            os.kill(worker.pid, signal.SIGKILL)

    def _bury(self, worker: Worker, code: int) -> None:
        os.close(worker.ready_from)
        self.workers.remove(worker)
        self._buried(worker.place)
        for other in self.workers:
            if other.replaces is worker:
                other.replaces = None
        if worker.ends_by_s is not None:
            return
        log.warning("worker_died", pid=worker.pid, code=code)
        if not self._was_ready:
            self._end(STARTUP_FAILURE)
        self._pause(self._clock_s() - worker.started_s)

    def _pause(self, lived_s: float) -> None:
        """Wait before the next start, longer each time that a worker dies young."""
        self._failures = 0 if lived_s >= STEADY_S else self._failures + 1
        pause_s = min(FIRST_PAUSE_S * 2 ** (self._failures - 1), LONGEST_PAUSE_S) if self._failures else 0.0
        self._next_start_s = self._clock_s() + pause_s

    def _take_over(self, worker: Worker) -> None:
        if worker.replaces is not None:
            self._dismiss(worker.replaces)
            worker.replaces = None

    def _fill(self) -> None:
        serving = [worker for worker in self.workers if worker.ends_by_s is None and worker.replaces is None]
        for _ in range(self._wanted - len(serving)):
            self._begin(None)

    def _replace(self) -> None:
        """Begin the replacement of the next worker, once that of the one before is over."""
        self._to_replace = [worker for worker in self._to_replace if worker in self.workers]
        if not self._to_replace or any(worker.ends_by_s is not None or worker.replaces for worker in self.workers):
            return
        if all(worker.ready for worker in self.workers):
            self._begin(self._to_replace[0])

    def _begin(self, replaces: Worker | None) -> None:
        taken = {worker.place for worker in self.workers}
        place = next(place for place in range(len(taken) + 1) if place not in taken)
        pid, ready_from = self._start(place)
        self.workers.append(Worker(pid, place, ready_from, self._clock_s(), replaces=replaces))

    def _end(self, code: int) -> None:
        self._code = code if self._code is None else self._code
        for worker in self.workers:
            self._dismiss(worker)

    def _dismiss(self, worker: Worker) -> None:
        if worker.ends_by_s is None:
            worker.ends_by_s = self._clock_s() + self._end_within_s
            os.kill(worker.pid, signal.SIGTERM)


def places(workers: int) -> int:
    """Return how many places workers may have: one more than there are, while one takes over from another."""
    return workers + 1


def _said_ready(descriptor: int) -> bool:
    try:
        return bool(os.read(descriptor, 1))
    except BlockingIOError:
        return False


@contextmanager
def _blocked() -> Iterator[None]:
    """Let signals wait until they are asked for."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
