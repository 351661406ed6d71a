"""An open-loop load: requests leave at times that were fixed before, and count from then, whatever the server does.

A closed loop waits for an answer before it asks again, so that a server which stalls is asked less, just when it is
slow; here whoever would have come then still comes, and his wait is seen (`http_load` is the closed loop, for peaks).
"""

import pickle
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, cast

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

OK: Final = 200
REFUSED: Final = 503
NO_ANSWER: Final = 0
PERCENTILES: Final = {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "p99.9_ms": 99.9}


def even(rate: float, seconds: float) -> Floats:
    """Return send times, seconds from the start, at a steady rate per second.

    >>> even(4, 1).tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    return np.arange(round(rate * seconds)) / rate


def poisson(rate: float, seconds: float, seed: int = 0) -> Floats:
    """Return send times as those of independent users are: at random, so many per second on average.

    >>> len(poisson(100, 10)), bool((np.diff(poisson(100, 10)) > 0).all())
    (1000, True)
    """
    return np.sort(np.random.default_rng(seed).random(round(rate * seconds)) * seconds)


@dataclass(frozen=True, slots=True, eq=False)
class Shots:
    """What came of each request, in the order of the planned times; only of those that were sent.

    Attributes
    ----------
    began_s
        Time zero of the plan by `time.monotonic`, which all processes of a machine share.
    planned_s, sent_s, took_s
        float64 (n,): when it was to leave and when it left, seconds from `began_s`; from the planned time to the last
        byte of its answer.
    status
        int64 (n,), `NO_ANSWER` where the connection was refused or cut, or nothing came for long.
    words
        What the patterns found in each answer.
    sender_share
        Of one core, what the process that sent them took.
    """

    began_s: float
    planned_s: Floats
    sent_s: Floats
    took_s: Floats
    status: npt.NDArray[np.int64]
    words: Sequence[tuple[str, ...]]
    sender_share: float = float("nan")

    def __len__(self) -> int:
        """Return the number of requests sent."""
        return len(self.status)

    @property
    def answered_at_s(self) -> Floats:
        """Return when each was over, by `time.monotonic`."""
        return self.began_s + self.planned_s + self.took_s

    def of(self, some: Mask) -> "Shots":
        """Return some of the requests."""
        words = [self.words[at] for at in np.flatnonzero(some).tolist()]
        timed = (self.planned_s[some], self.sent_s[some], self.took_s[some])
        return Shots(self.began_s, *timed, self.status[some], words, self.sender_share)

    def latencies(self, status: int = OK) -> dict[str, float | None]:
        """Return percentiles of the time to an answer of one status, in milliseconds; None where there is none."""
        took_ms = self.took_s[self.status == status] * 1000
        return {name: milliseconds(took_ms, share) for name, share in PERCENTILES.items()}

    def summary(self, within_s: float | None = None, status: int = OK) -> dict[str, Any]:
        """Return the figures of a load.

        Parameters
        ----------
        within_s
            How late an answer may be to be good for anything; None = however late.
        status
            Of a good answer.
        """
        span_s = float(self.planned_s[-1] - self.planned_s[0]) if len(self) > 1 else float("nan")
        good = (self.status == status) & (self.took_s <= (np.inf if within_s is None else within_s))
        codes, counts = np.unique(self.status, return_counts=True)
        return {
            "offered_per_s": round(len(self) / span_s, 1),
            "goodput_per_s": round(int(good.sum()) / span_s, 1),
            "requests": len(self),
            "by_status": {str(code): int(count) for code, count in zip(codes, counts, strict=True)},
            **self.latencies(status),
            "sender_late_p99_ms": milliseconds((self.sent_s - self.planned_s) * 1000, 99),
            "sender_share_of_a_core": round(self.sender_share, 3),
        }


def milliseconds(values: Floats, share: float) -> float | None:
    """Return a percentile with two digits, None of nothing."""
    return round(float(np.percentile(values, share)), 2) if len(values) else None


def get(path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a GET."""
    lines = [f"GET {path} HTTP/1.1", "Host: bench", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class OpenLoop:
    """A load that is being made, by a process of its own.

    Parameters
    ----------
    port
        Of the server, on loopback.
    requests
        Bytes of whole requests, sent in turn.
    planned_s
        When, seconds from the start, ascending.
    connections
        Keep-alive connections at most; opened when they are needed. What finds none free waits, and counts.
    patterns
        Regular expressions with a group: what is noted of each answer's body, the first match of each, or nothing.
    """

    def __init__(
        self,
        port: int,
        requests: Sequence[bytes],
        planned_s: Floats,
        *,
        connections: int = 256,
        patterns: Sequence[str] = (),
    ) -> None:
        command = [sys.executable, "-m", "benchmarks.open_loop_sender"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        job = {
            "port": port,
            "requests": list(requests),
            "planned_s": planned_s,
            "connections": connections,
            "patterns": [pattern.encode() for pattern in patterns],
        }
        self._orders, self._answers = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        pickle.dump(job, self._orders)
        self._orders.flush()
        self.began_s: float = pickle.load(self._answers)  # noqa: S301  # from our own process

    def result(self) -> Shots:
        """Return what came of the whole plan."""
        found = pickle.load(self._answers)  # noqa: S301  # from our own process
        self._orders.close()
        self._answers.close()
        self._process.wait()
        return Shots(self.began_s, **found)

    def stop(self) -> Shots:
        """Return what came of it until now; nothing more is sent."""
        self._orders.close()
        return self.result()

    def wait_until(self, at_s: float) -> None:
        """Wait for a moment of the plan."""
        time.sleep(max(0.0, self.began_s + at_s - time.monotonic()))

    def end(self) -> None:
        """Kill the process, if it is still there."""
        self._process.kill()
        self._process.wait()


def shoot(
    port: int,
    requests: Sequence[bytes],
    planned_s: Floats,
    *,
    connections: int = 256,
    patterns: Sequence[str] = (),
) -> Shots:
    """Return what came of a whole plan; see `OpenLoop`."""
    load = OpenLoop(port, requests, planned_s, connections=connections, patterns=patterns)
    try:
        return load.result()
    finally:
        load.end()
