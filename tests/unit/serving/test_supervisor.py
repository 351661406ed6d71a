"""The supervisor with real processes: shells that say that they are ready, and sleep."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from serving.supervisor import FIRST_PAUSE_S, LONGEST_PAUSE_S, READY_WITHIN_S, STARTUP_FAILURE, STEADY_S, Supervisor
from tests.conftest import WaitUntil

SERVES = "printf . >&{ready}; exec sleep 60"
STARTS = "exec sleep 60"
FAILS = "exit 7"
IS_DEAF = "trap '' TERM; printf . >&{ready}; while :; do sleep 1; done"
END_S = 5.0


@dataclass
class Yard:
    """Starts shells instead of servers, and tells the time by hand."""

    script: str = SERVES
    now_s: float = 1000.0
    started: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    buried: list[int] = field(default_factory=list)
    ending: list[int] = field(default_factory=list)

    def start(self, place: int) -> tuple[int, int]:
        """Start a shell."""
        ready_from, ready_to = os.pipe()
        os.set_inheritable(ready_to, True)  # noqa: FBT003  # the standard library's
        script = self.script.format(ready=3)
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", script],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, ready_to, 3)],
            setsigmask=[],
        )
        os.close(ready_to)
        os.set_blocking(ready_from, False)
        self.started.append(pid)
        self.places.append(place)
        return pid, ready_from

    def clock_s(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def yard() -> Yard:
    """Return a yard."""
    return Yard()


@pytest.fixture
def supervisor(yard: Yard) -> Iterator[Supervisor]:
    """Yield a supervisor of two workers."""
    made = Supervisor(
        2,
        yard.start,
        yard.buried.append,
        end_within_s=END_S,
        ending=lambda: yard.ending.append(len(made.workers)),
        clock_s=yard.clock_s,
    )
    try:
        yield made
    finally:
        for worker in made.workers:
            os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)


@pytest.fixture
def until(supervisor: Supervisor, wait_until: WaitUntil) -> Callable[[Callable[[], bool], str], None]:
    """Return a function that steps until something holds."""

    def step_until(holds: Callable[[], bool], what: str) -> None:
        def stepped() -> bool:
            supervisor.step()
            return holds()

        wait_until(stepped, 20, what)

    return step_until


Until = Callable[[Callable[[], bool], str], None]


def ready(supervisor: Supervisor) -> list[int]:
    return [worker.pid for worker in supervisor.workers if worker.ready and worker.ends_by_s is None]


def test_it_starts_as_many_as_are_wanted(supervisor: Supervisor, yard: Yard, until: Until) -> None:
    until(lambda: len(ready(supervisor)) == 2, "both serve")
    supervisor.step()
    assert len(yard.started) == 2
    assert yard.places == [0, 1]


def test_who_lived_long_is_replaced_at_once_and_in_its_place(supervisor: Supervisor, yard: Yard, until: Until) -> None:
    until(lambda: len(ready(supervisor)) == 2, "both serve")
    yard.now_s += STEADY_S
    first, second = ready(supervisor)
    os.kill(first, signal.SIGKILL)
    until(lambda: len(ready(supervisor)) == 2 and first not in ready(supervisor), "another one serves")
    assert second in ready(supervisor)
    assert yard.buried == [0]
    assert yard.places == [0, 1, 0]


def test_who_dies_young_again_and_again_is_started_less_and_less_often(
    supervisor: Supervisor, yard: Yard, until: Until
) -> None:
    until(lambda: len(ready(supervisor)) == 2, "both serve")
    yard.script = FAILS
    os.kill(ready(supervisor)[0], signal.SIGKILL)
    until(lambda: len(supervisor.workers) == 1, "it is gone")
    pauses = []
    for _ in range(7):
        began_s = yard.now_s
        while len(supervisor.workers) == 1:
            yard.now_s += FIRST_PAUSE_S / 2
            supervisor.step()
        pauses.append(yard.now_s - began_s)
        until(lambda: len(supervisor.workers) == 1, "it failed")
    assert pauses == [FIRST_PAUSE_S * 2**times for times in range(5)] + [LONGEST_PAUSE_S] * 2
    assert len(ready(supervisor)) == 1, "the other one goes on"


def test_where_none_ever_comes_up_the_server_ends(supervisor: Supervisor, yard: Yard) -> None:
    yard.script = FAILS
    assert supervisor.run() == STARTUP_FAILURE
    assert len(yard.started) == 2


def test_a_rolling_restart_ends_each_only_after_its_successor_serves(
    supervisor: Supervisor, yard: Yard, until: Until
) -> None:
    until(lambda: len(ready(supervisor)) == 2, "both serve")
    old = ready(supervisor)
    yard.script = STARTS
    supervisor.heed(signal.SIGHUP)
    until(lambda: len(yard.started) == 3, "a successor is started")
    supervisor.step()
    assert ready(supervisor) == old, "it is not ready: nobody ends"
    os.kill(yard.started[-1], signal.SIGKILL)
    until(lambda: len(supervisor.workers) == 2, "it is dead")
    assert ready(supervisor) == old

    yard.script = SERVES
    counts = []

    def all_new() -> bool:
        counts.append(len(ready(supervisor)))
        yard.now_s += FIRST_PAUSE_S
        return len(ready(supervisor)) == 2 and not set(old) & {worker.pid for worker in supervisor.workers}

    until(all_new, "all are new")
    assert min(counts) == 2
    assert max(counts) <= 3
    assert len(yard.started) == 5
    assert max(yard.places) == 2


def test_at_the_end_all_are_told_and_who_does_not_hear_is_killed(
    supervisor: Supervisor, yard: Yard, until: Until
) -> None:
    yard.script = IS_DEAF
    until(lambda: len(ready(supervisor)) == 2, "both serve")
    assert yard.ending == []
    supervisor.heed(signal.SIGTERM)
    supervisor.step()
    assert len(supervisor.workers) == 2
    assert yard.ending == [2]
    yard.now_s += END_S + 1
    assert supervisor.run() == 0
    assert supervisor.workers == []
    assert len(yard.started) == 2


def test_who_does_not_get_ready_is_killed(supervisor: Supervisor, yard: Yard, until: Until) -> None:
    until(lambda: len(ready(supervisor)) == 2, "both serve")
    yard.script = STARTS
    os.kill(ready(supervisor)[0], signal.SIGKILL)
    yard.now_s += STEADY_S
    until(lambda: len(yard.started) == 3 and len(supervisor.workers) == 2, "another one is started")
    stuck, yard.script = yard.started[-1], SERVES
    yard.now_s += READY_WITHIN_S + 1
    until(lambda: stuck not in {worker.pid for worker in supervisor.workers}, "it is gone")


def test_signals_are_heeded_while_it_runs(supervisor: Supervisor, yard: Yard) -> None:
    # Blocked before it runs, so that it cannot come too early.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        assert supervisor.run() == 0
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert yard.started
