"""Whatever is produced, said twice, broken, killed, moved, replayed and erased, in whatever order: a dict is the model.

Hypothesis chooses the steps from a seed; `MARQUEE_MACHINE_EXAMPLES` and `MARQUEE_MACHINE_SEED` choose more or others.
"""

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from pydantic import SecretStr

from features.admin import dead_letters
from features.admin.erasure import erase
from features.db.connection import connect
from features.kafka import INTERACTIONS
from features.settings import Settings
from tests.conftest import WaitUntil
from tests.support.faults import FaultRig, Process, fault_rig
from tests.support.stream import Sent

pytestmark = pytest.mark.integration
EXAMPLES = int(os.environ.get("MARQUEE_MACHINE_EXAMPLES", "2"))
SEED = int(os.environ.get("MARQUEE_MACHINE_SEED", "4007"))
STEPS = 14
USERS = 6
COUNTS = st.integers(1, 60)


class Machine(RuleBasedStateMachine):
    """Landing, its group and its operators against a model."""

    new_settings: Callable[[], Settings]
    wait_until: WaitUntil

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.number = 0
        self.users: dict[str, str] = {}
        self.messages: list[Sent] = []
        self.tries: Counter[str] = Counter()
        self.poison: dict[str, str] = {}
        self.mended: set[str] = set()
        self.erased: set[str] = set()

    @initialize()
    def begin(self) -> None:
        self.rig: FaultRig = self.stack.enter_context(fault_rig(type(self).new_settings(), seed=SEED))
        self.landing = self.rig.start_landing("--slot", "one", "--batch-size", "40")
        self.other: Process | None = None

    def event(self, user: int) -> Sent:
        self.number += 1
        event = {
            "event_id": f"e{self.number}",
            "type": "interaction",
            "schema_version": 1,
            "user_id": f"u{user}",
            "item_id": f"i{self.number % 7}",
            "action": "view",
            "occurred_at": "2026-01-01T00:00:00Z",
        }
        self.users[f"e{self.number}"] = f"u{user}"
        return Sent(INTERACTIONS, f"u{user}".encode(), json.dumps(event).encode(), f"e{self.number}")

    def send(self, messages: list[Sent]) -> None:
        self.rig.deliver(messages)
        self.tries.update(sent.event_id for sent in messages if sent.event_id)

    @rule(count=COUNTS, user=st.integers(0, USERS - 1))
    def produce(self, count: int, user: int) -> None:
        messages = [self.event((user + place) % USERS) for place in range(count)]
        self.messages += messages
        self.send(messages)

    @precondition(lambda self: self.messages)
    @rule(count=COUNTS, chance=st.integers(0, 2**16))
    def duplicate(self, count: int, chance: int) -> None:
        self.send(random.Random(chance).choices(self.messages, k=count))  # noqa: S311

    @rule(count=st.integers(1, 5), user=st.integers(0, USERS - 1))
    def poisoned(self, count: int, user: int) -> None:
        messages = []
        for _ in range(count):
            sent = self.event(user)
            broken = json.dumps({**json.loads(sent.value), "user_id": None}).encode()
            self.poison[str(sent.event_id)] = self.users.pop(str(sent.event_id))
            messages.append(Sent(sent.topic, b"poison", broken, None))
        self.send(messages)

    @rule()
    def kill(self) -> None:
        self.landing.kill()
        self.landing.wait()
        self.landing = self.rig.start_landing("--slot", "one", "--batch-size", "40")

    @precondition(lambda self: self.other is None)
    @rule()
    def join(self) -> None:
        self.other = self.rig.start_landing("--batch-size", "40")

    @precondition(lambda self: self.other is not None)
    @rule(how=st.sampled_from([signal.SIGTERM, signal.SIGKILL]))
    def leave(self, how: signal.Signals) -> None:
        assert self.other is not None
        self.other.send_signal(how)
        self.other.wait(timeout=240)
        self.other = None

    @precondition(lambda self: self.poison)
    @rule(again=st.booleans())
    def mend_and_replay(self, again: bool) -> None:  # noqa: FBT001  # Hypothesis names it
        """Mend what lies in the table, and replay it once or, against all rules, twice."""
        with connect(self.rig.settings, name="operator") as connection, self.rig.producer() as producer:
            letters = dead_letters.find(connection, dead_letters.Filter(), only_open=True, at_most=1_000)
            for letter in letters:
                fixed = dead_letters.get(connection, letter.dead_letter_id)
                event_id = json.loads(fixed.raw)["event_id"]
                dead_letters.fix(connection, letter.dead_letter_id, set_fields={"user_id": self.poison[event_id]})
                self.users[event_id] = self.poison[event_id]
                self.mended.add(event_id)
                self.tries[event_id] += 1 + again
            ids = [letter.dead_letter_id for letter in letters]
            sent = dead_letters.replay(connection, producer, ids, dead_letters.Filter())
            if again and ids:
                connection.execute("UPDATE dead_letters SET replayed_at = NULL WHERE dead_letter_id = ANY(%s)", [ids])
                connection.commit()
                dead_letters.replay(connection, producer, ids, dead_letters.Filter())
        assert sent == len(letters)

    @rule(user=st.integers(0, USERS - 1))
    def erase(self, user: int) -> None:
        with connect(self.rig.settings, name="operator") as connection:
            erase(self.rig.settings, connection, f"u{user}", datetime.now(UTC))
        self.erased.add(f"u{user}")

    def teardown(self) -> None:
        try:
            if hasattr(self, "rig"):
                self.compare()
        finally:
            self.stack.close()

    def compare(self) -> None:
        """Hold rows, dead letters and counters against the model, to the event."""
        ends = self.rig.ends()
        self.wait_until(lambda: self.rig.landed(ends), timeout=60, what="everything landed")
        rows = Counter(row[0] for row in self.rig.rows("SELECT event_id FROM interactions"))
        assert rows == Counter(event for event, user in self.users.items() if user not in self.erased)
        [(letters,)] = self.rig.rows("SELECT count(*) FROM dead_letters")
        assert letters == len(self.poison)
        kept = self.rig.rows("SELECT raw FROM dead_letters WHERE erased_at IS NULL")
        assert {json.loads(raw)["event_id"] for (raw,) in kept} >= self.poison.keys() - self.mended
        counters = self.rig.counters()
        assert sum(counters.values()) == self.tries.total() + len(self.poison)
        assert counters["dead"] == len(self.poison)
        if not self.erased:
            assert counters["duplicate"] == self.tries.total() - len(self.tries)
            assert counters["skipped"] == 0
        [(erased,)] = self.rig.rows("SELECT coalesce(sum(erased), 0)::int FROM consumer_offsets")
        assert counters["stored"] - erased == rows.total()
        done = self.rig.command("reconcile", "--json", check=False)
        assert done.returncode == 0, done.stdout


def test_landing_is_what_a_dict_says(
    new_database: Callable[[], str], kafka_bootstrap: str, wait_until: WaitUntil
) -> None:
    def new_settings() -> Settings:
        return Settings(
            database_url=SecretStr(new_database()),
            kafka_bootstrap_servers=kafka_bootstrap,
            erasure_secret=SecretStr("a secret of tests"),
        )

    members: dict[str, Any] = {"new_settings": staticmethod(new_settings), "wait_until": staticmethod(wait_until)}
    machine = seed(SEED)(type("SeededMachine", (Machine,), members))
    print(f"seed {SEED}, {EXAMPLES} examples")  # noqa: T201  # pytest shows it when the test fails
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            verbosity=Verbosity.normal,
            suppress_health_check=list(HealthCheck),
        ),
    )
