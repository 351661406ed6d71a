"""A soak: a steady stream of events, and one random fault after another for some minutes; then every id is looked for.

`python -m benchmarks.soak [MINUTES] [SEED]`; the faults are those of `tests/integration`, the checker is theirs, too.
"""

import random
import signal
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

from benchmarks.record import record
from features.contracts.errors import MarqueeError
from features.failpoints import FAILPOINTS
from tests.support.faults import FaultRig, Process, fault_rig, frozen, wake
from tests.support.history import Verdict
from tests.support.proxy import TOXICS
from tests.support.services import Services, own_services

MINUTES: Final = 5.0
SLOTS: Final = ("a", "b", "c")
AT_ONCE: Final = 100
PAUSE_S: Final = 0.2
"""A hundred events five times a second: what landing takes easily, so that recovery is what is measured."""
PATIENCE_S: Final = 120.0
STOPS: Final = ("after_fence", "after_write", "after_dead_letters", "after_offsets")


class SoakError(MarqueeError):
    """Landing did not go on after a fault, or something is missing, double or unexpected."""


class Soak:
    """Landing processes and what is done to them.

    Parameters
    ----------
    services
        What landing needs.
    rig
        Produces, and holds the history.
    chance
        Chooses faults and moments.
    """

    def __init__(self, services: Services, rig: FaultRig, chance: random.Random) -> None:
        self._services = services
        self._rig = rig
        self._chance = chance
        self._moment = threading.Event()
        self._sending = True
        self._landings: dict[str, Process] = {}
        self._lost_sender: list[BaseException] = []
        self.recovery_s: dict[str, list[float]] = defaultdict(list)
        self.kills = self.freezes = 0
        self.failpoints: set[str] = set()

    def run(self, seconds: float) -> Verdict:
        """Return the checker's verdict after faults for so many seconds."""
        sender = threading.Thread(target=self._send, name="sender")
        sender.start()
        try:
            for slot in SLOTS:
                self._start(slot)
            self._recovered("start")
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and not self._lost_sender:
                self._fault()
        finally:
            self._sending = False
            sender.join()
        if self._lost_sender:
            raise self._lost_sender[0]
        self._recovered("the end")
        for landing in self._landings.values():
            landing.send_signal(signal.SIGTERM)
            landing.wait(timeout=20)
        return self._rig.check()

    @property
    def fenced(self) -> int:
        """Return how often a landing process met the fence: a commit that came too late and was not made."""
        return sum(len(self._rig.logged(process, "another process landed this")) for process in self._rig.started)

    def _send(self) -> None:
        try:
            while self._sending:
                self._rig.send(AT_ONCE)
                self._moment.wait(PAUSE_S)
        except MarqueeError as error:
            self._lost_sender.append(error)

    def _fault(self) -> None:
        faults: Mapping[str, Callable[[], str]] = {
            "kill": self._kill,
            "failpoint": self._kill_at_failpoint,
            "freeze": self._freeze,
            "link": self._poison,
            "postgres": self._hurt_postgres,
            "kafka": self._hurt_kafka,
            "group": self._move,
        }
        [kind] = self._chance.choices(list(faults), weights=(6, 8, 2, 4, 1.5, 1, 2))
        name = faults[kind]()
        self._recovered(name)

    def _recovered(self, name: str) -> None:
        """Note how long it takes until all that is in Kafka now is landed."""
        began = time.monotonic()
        ends = self._rig.ends()
        self._wait(lambda: self._rig.landed(ends), f"landing goes on after {name}")
        took = time.monotonic() - began
        self.recovery_s[name].append(took)
        print(f"{took:6.1f} s after {name}", flush=True)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise SoakError(f"not within {PATIENCE_S:g} s: {what}")
            self._moment.wait(0.05)

    def _start(self, slot: str, failpoints: str = "") -> Process:
        # One has no slot of its own: it leaves at SIGTERM, and the group waits for it when it is killed.
        options = () if slot == SLOTS[-1] else ("--slot", slot)
        self._landings[slot] = self._rig.start_landing(*options, "--batch-size", "300", failpoints=failpoints)
        return self._landings[slot]

    def _end(self, slot: str, number: signal.Signals) -> None:
        self._landings[slot].send_signal(number)
        self._landings[slot].wait(timeout=20)
        self.kills += number == signal.SIGKILL

    def _kill(self) -> str:
        slots = self._chance.sample(SLOTS, self._chance.randint(1, len(SLOTS)))
        self._moment.wait(self._chance.uniform(0, 2))
        for slot in slots:
            self._end(slot, signal.SIGKILL)
            self._start(slot)
        return "kill -9 at a random moment"

    def _kill_at_failpoint(self) -> str:
        slot, place = self._chance.choice(SLOTS), self._chance.choice(FAILPOINTS)
        self._end(slot, signal.SIGTERM)
        armed = self._start(slot, f"{place}=kill@{self._chance.randint(1, 3)}")
        self._wait(lambda: armed.poll() is not None, f"death at {place}")
        if armed.returncode != -signal.SIGKILL:
            raise SoakError(f"armed at {place} it ended with {armed.returncode}: {self._rig.log(armed)[-2000:]}")
        self.kills += 1
        self.failpoints.add(place)
        self._start(slot)
        return "kill -9 at a failpoint"

    def _freeze(self) -> str:
        slot, place = self._chance.choice(SLOTS), self._chance.choice(STOPS)
        self._end(slot, signal.SIGTERM)
        armed = self._start(slot, f"{place}=stop@{self._chance.randint(1, 3)}")
        self._wait(lambda: frozen(armed), f"freezing at {place}")
        self.freezes += 1
        self._recovered("SIGSTOP in a transaction")
        wake(armed)
        return "SIGCONT of a zombie"

    def _poison(self) -> str:
        name, server = self._chance.choice(list(TOXICS)), self._chance.choice(("postgres", "kafka"))
        proxy = self._services.postgres_proxy if server == "postgres" else self._services.kafka_proxy
        with proxy.poisoned(TOXICS[name]):
            self._moment.wait(self._chance.uniform(1, 6))
        return f"link to {server}: {name}"

    def _hurt_postgres(self) -> str:
        how = self._chance.choice(("stopped 20 s", "killed", "frozen", "full disk", "no connection left"))
        match how:
            case "stopped 20 s":
                self._services.stop("postgres")
                self._moment.wait(20)
                self._services.start("postgres")
            case "killed":
                self._services.kill("postgres")
                self._services.start("postgres")
            case "frozen":
                with self._services.frozen("postgres"):
                    self._moment.wait(self._chance.uniform(2, 10))
            case "full disk":
                with self._services.full_disk():
                    self._moment.wait(self._chance.uniform(2, 6))
                if not self._services.runs("postgres"):
                    self._services.start("postgres")
            case _:
                with self._services.crowded(self._rig.settings):
                    self._moment.wait(3)
        return f"Postgres {how}"

    def _hurt_kafka(self) -> str:
        # A dead broker refuses connections; the proxy alone would accept them, and cut them.
        with self._services.kafka_proxy.poisoned(TOXICS["down"]):
            self._services.kill("kafka")
            self._moment.wait(self._chance.uniform(0, 10))
            self._services.start("kafka")
        return "Kafka killed"

    def _move(self) -> str:
        slot = self._chance.choice(SLOTS)
        self._end(slot, signal.SIGTERM)
        self._moment.wait(self._chance.uniform(0, 3))
        self._start(slot)
        return "one left and one joined"


def figures(soak: Soak, verdict: Verdict, seed: int, minutes: float) -> dict[str, Any]:
    """Return what a soak found, for the record."""
    all_s = [took for name, times in soak.recovery_s.items() if name not in {"start", "the end"} for took in times]
    return {
        "seed": seed,
        "minutes": minutes,
        "attempts_to_send": verdict.tried,
        "ids": verdict.ids,
        "counters": dict(verdict.counters),
        "lost": len(verdict.lost),
        "duplicate_rows": len(verdict.duplicate),
        "unexpected_rows": len(verdict.unexpected),
        "dead_letters_lost_or_unexpected": len(verdict.letters_lost) + len(verdict.letters_unexpected),
        "faults_found": verdict.faults,
        "kills": soak.kills,
        "failpoints_killed_at": sorted(soak.failpoints),
        "freezes": soak.freezes,
        "late_commits_refused_by_the_fence": soak.fenced,
        "stale_commits_accepted": len(verdict.duplicate) + len(verdict.wrong_counts),
        "faults": len(all_s),
        "recovery_s": {"p50": round(statistics.median(all_s), 1), "max": round(max(all_s), 1)},
        "recovery_by_fault_s": {
            name: {"times": len(times), "p50": round(statistics.median(times), 1), "max": round(max(times), 1)}
            for name, times in sorted(soak.recovery_s.items())
        },
    }


def show(found: Mapping[str, Any]) -> None:
    """Print the figures of a soak."""
    print(f"lost {found['lost']} of {found['ids']} in {found['kills']} kills", end=" ")
    print(f"at {len(found['failpoints_killed_at'])} failpoints and at random; {found['faults']} faults in all")
    print(f"double rows {found['duplicate_rows']}, unexpected {found['unexpected_rows']}, counters {found['counters']}")
    print(f"{found['freezes']} zombies, {found['late_commits_refused_by_the_fence']} late commits refused", end=", ")
    print(f"{found['stale_commits_accepted']} accepted")
    print(f"{'fault':<42}{'times':>6}{'p50 s':>8}{'max s':>8}")
    for name, one in found["recovery_by_fault_s"].items():
        print(f"{name:<42}{one['times']:>6}{one['p50']:>8}{one['max']:>8}")


def run(minutes: float = MINUTES, seed: int | None = None) -> None:
    """Soak, print what was found, and keep it.

    Raises
    ------
    SoakError
        If anything was lost, doubled or unexpected.
    """
    seed = seed if seed is not None else random.SystemRandom().randrange(2**20)
    with own_services() as services:
        settings, via = services.new_settings()
        with fault_rig(settings, seed, partitions=4, via=via) as rig:
            soak = Soak(services, rig, random.Random(seed))  # noqa: S311  # faults are to be repeatable
            verdict = soak.run(minutes * 60)
            found = figures(soak, verdict, seed, minutes)
    show(found)
    record("soak", found)
    if verdict.faults:
        raise SoakError(f"seed {seed}: {verdict.faults}")


if __name__ == "__main__":
    run(float(sys.argv[1]) if sys.argv[1:] else MINUTES, int(sys.argv[2]) if sys.argv[2:] else None)
