"""Named places at which a process can be made to die, stop or fail: off unless `MARQUEE_FAILPOINTS` arms them.

Faults at a step of a protocol cannot be timed from outside. `MARQUEE_FAILPOINTS=after_write=kill@3` kills the
process the third time that it comes by; several are separated by commas. An unknown name or action stops the process at
its start, so that no test believes in a fault that never was.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

from features.contracts.errors import MarqueeError, UnavailableError

VARIABLE: Final = "MARQUEE_FAILPOINTS"
LANDING: Final = (
    "after_decode",
    "after_gate",
    "after_fence",
    "after_write",
    "after_dead_letters",
    "after_offsets",
    "after_commit",
    "after_publish",
    "after_copy",
)
"""One after each step of the landing protocol; `after_offsets` is the last moment before its commit."""
EMBEDDING: Final = ("after_claim", "after_encode", "after_vectors", "after_texts")
"""One after each step of a batch of texts; `after_vectors` is the last moment before its commit."""
ERASURE: Final = ("after_part", "after_ledger")
"""While a user is taken out of a snapshot: its new part is written; the ledger tells of it."""
TRAINING: Final = ("after_step", "after_upload", "after_version", "after_previous", "after_back", "after_alias")
"""Before a step's record; between a version's files, its registration and its tags; around the move of the alias."""
FAILPOINTS: Final = (*LANDING, *EMBEDDING, *ERASURE, *TRAINING)


class FailpointError(MarqueeError):
    """`MARQUEE_FAILPOINTS` names something that does not exist."""


def failpoint(name: str) -> None:
    """Return at once, unless this place is armed and has now been passed as often as it says."""
    if armed := _armed():
        armed.pass_by(name)


class _Armed:
    """Which action follows at which passage of each place."""

    def __init__(self, actions: Mapping[str, tuple[str, int]]) -> None:
        self._actions = actions
        self._passed: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._actions)

    def pass_by(self, name: str) -> None:
        if name not in self._actions:
            return
        self._passed[name] += 1
        action, passage = self._actions[name]
        if self._passed[name] == passage:
            ACTIONS[action]()


def _unavailable() -> None:
    raise UnavailableError("a failpoint says that the service is away")


ACTIONS: Final[Mapping[str, Callable[[], None]]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "unavailable": _unavailable,
}
"""Die without a word; freeze until SIGCONT; fail as if a service were away."""


@cache
def _armed() -> _Armed:
    return _Armed(armed())


def armed() -> dict[str, tuple[str, int]]:
    """Return what `MARQUEE_FAILPOINTS` arms, as `parse` does; asked at the start, so that a wrong name ends us.

    Raises
    ------
    FailpointError
        Naming what does not exist.
    """
    return parse(os.environ.get(VARIABLE, ""))


def parse(text: str) -> dict[str, tuple[str, int]]:
    """Return action and passage by place.

    >>> parse("after_write=kill@3,after_commit=stop")
    {'after_write': ('kill', 3), 'after_commit': ('stop', 1)}

    Raises
    ------
    FailpointError
        Naming what does not exist.
    """
    return dict(_parse_one(part) for part in text.split(",") if part)


def _parse_one(part: str) -> tuple[str, tuple[str, int]]:
    name, _, rest = part.partition("=")
    action, _, passage = rest.partition("@")
    if name not in FAILPOINTS or action not in ACTIONS or not (passage or "1").isdigit():
        raise FailpointError(
            f"{VARIABLE}: {part!r}; expected NAME=ACTION or NAME=ACTION@PASSAGE with a name among "
            f"{', '.join(FAILPOINTS)} and an action among {', '.join(ACTIONS)}"
        )
    return name, (action, int(passage or 1))
