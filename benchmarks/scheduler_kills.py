"""Airflow's scheduler killed in the middle of every task of `train_recommender`, on a stack of its own.

`python -m benchmarks.scheduler_kills`: little data; a run in which all that the scheduler has started dies with it (-9)
once in each task, as when its container does; and one in which the scheduler alone is killed. The supervisor of the
stack starts it anew, as it does for everybody.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.own_stack import airflow_of, own_stack, registry_of
from benchmarks.record import record
from features.contracts.errors import MarqueeError, UnavailableError
from ops.demo import commands
from ops.demo.airflow import FINAL, TASK_FINAL, Airflow
from ops.local.stack import Stack
from ops.local.supervise import Supervisor
from tests.support.taste_events import taste_events, taste_items
from training.bundle.read import verify_bundle
from training.bundle.registry import Registry
from training.bundle.versions import TAG_RUN, RegisteredVersion

DAG: Final = "train_recommender"
CONF: Final = {"factors": 8, "min_events": 300}
KNOWN_WITHIN_S: Final = 120.0
ENDS_WITHIN_S: Final = 1_800.0
LOOK_EVERY_S: Final = 0.1
AMID_CPU_S: Final = {
    "announce_started": 0.3,
    "data_doctor": 0.3,
    "snapshot": 1.5,
    "retrieval": 2.0,
    "ranker": 8.0,
    "evaluate": 4.0,
    "register": 3.0,
    "gate": 4.0,
    "needs_approval": 0.3,
    "promote": 1.5,
    "announce": 0.3,
}
"""Tasks in their order, and the processor time of its command after which each is in the middle of its work."""
SCHEDULER: Final = "airflow-scheduler"


class KillsError(MarqueeError):
    """A run made no version, or two, or left the alias on something that is not whole."""


def scheduler_alone(process: psutil.Process) -> None:
    """Kill the scheduler; the kernel ends its workers with it, and the command of the task lives on."""
    process.kill()


def with_all_it_started(process: psutil.Process) -> None:
    """Kill the scheduler, its workers, and the command of the task."""
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            one.kill()


KILLS: Final[Mapping[str, Callable[[psutil.Process], None]]] = {
    "with its workers and the task": with_all_it_started,
    "the scheduler alone": scheduler_alone,
}


@dataclass
class Watch:
    """An eye on the registry while runs go on.

    Attributes
    ----------
    served
        Versions that the alias has pointed to, each of which was downloaded and held against its digest.
    wrong
        What must not be, in words.
    """

    registry: Registry
    alias: str
    served: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look again and again for as long as the block runs."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            thread.join()

    def _run(self) -> None:
        while not self.over.wait(LOOK_EVERY_S):
            with suppress(UnavailableError):
                self.look()

    def look(self) -> None:
        """Look once."""
        runs = [version.tags.get(TAG_RUN, "") for version in self.registry.versions()]
        self.wrong += [f"run {run} has {runs.count(run)} versions" for run in set(runs) if runs.count(run) > 1]
        found = self.registry.by_alias(self.alias)
        if found is None or found.version in self.served:
            return
        self.served.append(found.version)
        with tempfile.TemporaryDirectory() as folder:
            try:
                verify_bundle(self.registry.download(found.version, Path(folder)), str(found.digest))
            except MarqueeError as error:
                self.wrong.append(f"version {found.version} serves and is not whole: {error}")


@dataclass(frozen=True)
class Line:
    """The stack's Airflow, its supervisor, and what its runs made."""

    airflow: Airflow
    supervisor: Supervisor
    watch: Watch

    def trigger(self) -> str:
        """Return the id of a new run on little data."""
        return self.airflow.trigger(DAG, CONF)

    def scheduler(self) -> psutil.Process:
        """Return the scheduler's process, once there is one."""
        while True:
            process = self.supervisor.processes()[SCHEDULER]
            if process.running and process.pid:
                return psutil.Process(process.pid)
            time.sleep(LOOK_EVERY_S)

    def task(self, run: str, task: str) -> dict[str, Any]:
        """Return what Airflow knows of a task of a run."""
        return next(one for one in self.airflow.tasks(DAG, run) if one["task_id"] == task)

    def versions(self, run: str) -> list[RegisteredVersion]:
        """Return what a run has registered, by the name that its DAG gave it."""
        name = self.task(run, "register")["rendered_fields"]["env"]["RUN"]
        return [version for version in self.watch.registry.versions() if version.tags.get(TAG_RUN) == name]

    def wait(self, run: str, task: str, states: set[str]) -> dict[str, Any]:
        """Return a task of a run once it is in one of some states, or the run has ended."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while time.monotonic() < deadline:
            found = self.task(run, task)
            if found["state"] in states or self.airflow.state(DAG, run) in FINAL:
                return found
            time.sleep(LOOK_EVERY_S)
        raise KillsError(f"task {task} of {run} is {found['state']} after {ENDS_WITHIN_S:.0f} s")


def run() -> None:
    """Kill, print what became of it, and keep that.

    Raises
    ------
    KillsError
        If what must not be came about. That a run fails is none: `register` is not repeated by itself, and a person
        clears it.
    """
    with _line() as line, line.watch.watching():
        found = {name: disturbed(line, kill) for name, kill in KILLS.items()}
        line.watch.look()
    print(found, flush=True)
    record("scheduler_kills", {"runs": found, "served": line.watch.served})
    if wrong := line.watch.wrong + [f"{name}: no version" for name, one in found.items() if one["versions"] != 1]:
        raise KillsError("; ".join(wrong))


def disturbed(line: Line, kill: Callable[[psutil.Process], None]) -> dict[str, Any]:
    """Return what became of a run whose scheduler is killed in the middle of each task."""
    name, began_s = line.trigger(), time.monotonic()
    tasks = {task: _killed(line, name, task, kill) for task in AMID_CPU_S}
    while (state := line.airflow.state(DAG, name)) not in FINAL:
        time.sleep(LOOK_EVERY_S)
    own = line.versions(name)
    return {
        "state": state,
        "took_s": round(time.monotonic() - began_s),
        "versions": len(own),
        "champion": line.watch.registry.aliases()[line.watch.alias] in {one.version for one in own},
        "tasks": tasks,
    }


def _killed(line: Line, run: str, task: str, kill: Callable[[psutil.Process], None]) -> dict[str, Any]:
    """Return what became of a task in whose middle the scheduler was killed."""
    line.wait(run, task, {"running", *TASK_FINAL})
    scheduler = line.scheduler()
    while (before := line.task(run, task))["state"] not in TASK_FINAL and _worked_s(scheduler) < AMID_CPU_S[task]:
        time.sleep(LOOK_EVERY_S / 2)
    kill(scheduler)
    killed_s = time.monotonic()
    ended = line.wait(run, task, TASK_FINAL)
    found = {
        "killed_while": before["state"],
        "state": ended["state"],
        "tries": ended["try_number"],
        "ended_after_s": round(time.monotonic() - killed_s, 1),
    }
    print(f"scheduler kills: {task}: {found}", flush=True)
    return found


def _worked_s(scheduler: psutil.Process) -> float:
    """Return the processor time of the command that a task runs now, in seconds; 0 before it runs."""
    spent = 0.0
    for process in scheduler.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.cmdline()[1:2] == ["-m"]:
                spent = max(spent, process.cpu_times().user)
    return spent


@contextmanager
def _line() -> Iterator[Line]:
    """Yield a running stack that knows little data."""
    with (
        own_stack() as stack,
        tempfile.TemporaryDirectory(prefix="marquee-kills-") as folder,
        airflow_of(stack) as airflow,
    ):
        _fill(stack, Path(folder))
        airflow.wait_for_dag(DAG, KNOWN_WITHIN_S)
        airflow.unpause(DAG)
        watch = Watch(registry_of(stack), stack.settings()["MARQUEE_MODEL_ALIAS"])
        yield Line(airflow, Supervisor(stack.layout.supervisor_socket), watch)


def _fill(stack: Stack, folder: Path) -> None:
    arguments: list[str] = []
    for option, frame in {"--interactions": taste_events(), "--items": taste_items()}.items():
        file = folder / f"{option.strip('-')}.parquet"
        frame.to_parquet(file, index=False)
        arguments += [option, str(file)]
    commands.run(["features", "import", *arguments], stack.settings())


if __name__ == "__main__":
    run()
