"""A history of all that was produced, on disk before it is sent, and a checker that compares by id, not by totals."""

import hashlib
import json
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from features.admin.reconcile import reconcile
from features.db.connection import connect
from features.kafka import dead_letter_topic
from features.kafka_admin import Admin
from tests.support.landing import Rig
from tests.support.stream import Sent

PUBLISHED_WITHIN_S = 60.0


class History:
    """Every message that anyone tried to send, one line each, flushed to disk before the attempt.

    Parameters
    ----------
    file
        Made if it does not exist, else continued.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._out = file.open("ab")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._out.close()

    def intend(self, messages: Iterable[Sent]) -> None:
        """Write down what is about to be sent; on disk when this returns."""
        for sent in messages:
            line = {"id": sent.event_id} if sent.event_id else {"bad": _digest(sent.value)}
            self._out.write(json.dumps({"did": "try", **line}).encode() + b"\n")
        self._out.flush()
        os.fsync(self._out.fileno())

    def acknowledge(self, messages: Iterable[Sent]) -> None:
        """Write down what Kafka has for certain."""
        for sent in messages:
            line = {"id": sent.event_id} if sent.event_id else {"bad": _digest(sent.value)}
            self._out.write(json.dumps({"did": "have", **line}).encode() + b"\n")
        self._out.flush()


@dataclass
class Told:
    """What a history file says: how often each good id and each bad content was tried, and how often surely sent."""

    tried: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    bad_tried: Counter[str] = field(default_factory=Counter)
    bad_sent: Counter[str] = field(default_factory=Counter)

    @property
    def certain(self) -> bool:
        """Whether every attempt is known to have succeeded: then duplicates can be foretold to the event."""
        return self.tried == self.sent and self.bad_tried == self.bad_sent


def read_history(file: Path) -> Told:
    """Return what a history file says."""
    told = Told()
    with file.open("rb") as lines:
        for line in lines:
            one = json.loads(line)
            if "id" in one:
                (told.tried if one["did"] == "try" else told.sent)[one["id"]] += 1
            else:
                (told.bad_tried if one["did"] == "try" else told.bad_sent)[one["bad"]] += 1
    return told


@dataclass
class Verdict:
    """What the checker found; every list holds ids, or digests of bad contents, and should be empty."""

    tried: int
    ids: int
    counters: Mapping[str, int]
    lost: list[str] = field(default_factory=list)
    duplicate: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    letters_lost: list[str] = field(default_factory=list)
    letters_unexpected: list[str] = field(default_factory=list)
    not_published: list[str] = field(default_factory=list)
    wrong_counts: list[str] = field(default_factory=list)

    @property
    def faults(self) -> dict[str, list[str]]:
        """Return what is wrong, with ten examples each; empty if nothing is."""
        found = {name: value for name, value in vars(self).items() if isinstance(value, list) and value}
        return {name: [f"{len(value)} in all", *value[:10]] for name, value in found.items()}


def check(rig: Rig, history: Path, *, by_command: bool = True) -> Verdict:
    """Return how what stands in the tables and topics differs from what a history says was produced.

    Parameters
    ----------
    rig
        Where the tables and topics are.
    history
        The file.
    by_command
        Whether to reconcile by `python -m features reconcile`, or for speed by the function behind it.
    """
    told = read_history(history)
    rows = _rows(rig)
    verdict = Verdict(told.tried.total() + told.bad_tried.total(), len(told.tried), rig.counters())
    verdict.lost = sorted(told.sent.keys() - rows.keys())
    verdict.duplicate = sorted(event_id for event_id, count in rows.items() if count > 1)
    verdict.unexpected = sorted(rows.keys() - told.tried.keys())
    _check_letters(rig, told, verdict)
    _check_counts(told, verdict, len(rows))
    _check_balances(_balances_by_command(rig) if by_command else _balances(rig), verdict)
    return verdict


def _rows(rig: Rig) -> Counter[str]:
    found = rig.rows(
        "SELECT event_id FROM interactions UNION ALL SELECT event_id FROM impressions UNION ALL "
        "SELECT event_id FROM feedback UNION ALL SELECT event_id FROM item_versions UNION ALL "
        "SELECT event_id FROM user_versions"
    )
    return Counter(event_id for (event_id,) in found)


def _check_letters(rig: Rig, told: Told, verdict: Verdict) -> None:
    letters = _letters(rig)
    found = Counter(_digest(raw) for _, _, _, raw, _ in letters)
    verdict.letters_lost = sorted(told.bad_sent.keys() - found.keys())
    verdict.letters_unexpected = sorted(found.keys() - told.bad_tried.keys())
    if told.certain:
        verdict.letters_lost += sorted((told.bad_sent - found).keys())
        verdict.letters_unexpected += sorted((found - told.bad_sent).keys())
    published: dict[str, list[bytes]] = defaultdict(list)  # a topic made anew has the same places again
    for topic in {letter[0] for letter in letters}:
        for message in rig.messages(dead_letter_topic(topic)):
            published[message.key.decode()].append(bytes(message.value))
    for topic, partition, offset, raw, marked in letters:
        place = f"{topic}:{partition}:{offset}"
        # A very large message is cut in its topic; the table has all of it.
        if not marked or not any(value and bytes(raw).startswith(value) for value in published[place]):
            verdict.not_published.append(place)


def _letters(rig: Rig) -> list[tuple[Any, ...]]:
    """Return all dead letters once those are marked as published that will be: that comes after offsets are kept."""
    deadline, pause = time.monotonic() + PUBLISHED_WITHIN_S, threading.Event()
    while True:
        found = rig.rows("SELECT topic, partition, kafka_offset, raw, published_at IS NOT NULL FROM dead_letters")
        if all(letter[-1] for letter in found) or time.monotonic() > deadline:
            return found
        pause.wait(0.2)


def _check_counts(told: Told, verdict: Verdict, rows: int) -> None:
    counters = verdict.counters
    if counters["stored"] != rows:
        verdict.wrong_counts.append(f"{counters['stored']} counted as stored, {rows} rows")
    if told.certain and counters["duplicate"] != told.sent.total() - len(told.sent):
        verdict.wrong_counts.append(
            f"{counters['duplicate']} counted as duplicate, {told.sent.total() - len(told.sent)} sent again"
        )


def _check_balances(balances: list[dict[str, Any]], verdict: Verdict) -> None:
    """Hold the two identities of each partition, and that landing stands at its end."""
    verdict.wrong_counts += [json.dumps(one) for one in balances if not one["holds"] or one["lag"] != 0]


def _balances_by_command(rig: Rig) -> list[dict[str, Any]]:
    done = rig.command("reconcile", "--json", check=False)
    assert done.returncode in {0, 1}, done.stderr
    answer = json.loads(done.stdout)
    assert answer["holds"] == (done.returncode == 0)
    return list(answer["partitions"])


def _balances(rig: Rig) -> list[dict[str, Any]]:
    with connect(rig.settings, name="check") as connection, Admin(rig.settings) as admin:
        return [dict(one.to_json()) for one in reconcile(connection, admin)]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
