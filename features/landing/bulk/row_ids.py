"""Event ids out of what rows say, whole columns at a time: the same row gives the same id for ever.

A row's id is 128 bits in two lanes of 64: each lane takes in each column in turn and mixes it as SplitMix64 does
(Steele, Lea, Flood, Fast splittable pseudorandom number generators, OOPSLA 2014). It is no secret, and guards against
chance, not against somebody who makes up rows.
"""

import tempfile
from collections import Counter
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Lanes = npt.NDArray[np.uint64]
"""uint64 (n, 2): the 128 bits of each row."""

_SEEDS: Final = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03], dtype=np.uint64)
_NULL: Final = np.uint64(0xA24BAED4963EE407)
"""What stands for a value that is missing: a number like any other, which no text's length is."""
_WORD: Final = 8
_COMPARED_AT_ONCE: Final = 1 << 20


def start(rows: int) -> Lanes:
    """Return the lanes before any column was taken in."""
    return np.tile(_SEEDS, (rows, 1))


def take_numbers(lanes: Lanes, numbers: npt.NDArray[np.generic], missing: npt.NDArray[np.bool_] | None = None) -> None:
    """Take in a column of 8-byte numbers, by their bits."""
    bits = np.ascontiguousarray(numbers).view(np.uint64)
    _mix(lanes, bits if missing is None else np.where(missing, _NULL, bits))
    if missing is not None:
        _mix(lanes, missing.astype(np.uint64))


def take_text(lanes: Lanes, text: pa.Array) -> None:
    """Take in a column of text, by its length and its UTF-8 bytes; null is unlike any text."""
    text = text.cast(pa.large_binary())
    offsets = np.frombuffer(text.buffers()[1], dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    lengths = np.diff(offsets)
    missing = np.asarray(text.is_null())
    _mix(lanes, np.where(missing, _NULL, lengths.astype(np.uint64)))
    data = text.buffers()[2]
    content = np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, np.uint8)
    content = np.concatenate((content[: offsets[-1]], np.zeros(_WORD, np.uint8)))
    words = np.lib.stride_tricks.sliding_window_view(content, _WORD)
    rows = np.flatnonzero(lengths > 0)
    for at in range(0, int(lengths.max(initial=0)), _WORD):
        rows = rows[lengths[rows] > at]
        word = words[offsets[rows] + at].copy().view("<u8").ravel().astype(np.uint64)
        beyond = np.maximum(_WORD - (lengths[rows] - at), 0).astype(np.uint64) * np.uint64(8)
        part = lanes[rows]
        _mix(part, (word << beyond) >> beyond)
        lanes[rows] = part


def _mix(lanes: Lanes, values: npt.NDArray[np.uint64]) -> None:
    """Take one number a row into both lanes; arithmetic is modulo 2 to the 64th."""
    lanes ^= values[:, None]
    lanes += _SEEDS
    lanes ^= lanes >> np.uint64(30)
    lanes *= np.uint64(0xBF58476D1CE4E5B9)
    lanes ^= lanes >> np.uint64(27)
    lanes *= np.uint64(0x94D049BB133111EB)
    lanes ^= lanes >> np.uint64(31)


def spell(lanes: Lanes) -> pa.Array:
    """Return each row's id, 32 hexadecimal digits."""
    digits = lanes.astype(">u8").tobytes().hex().encode()
    offsets = np.arange(0, (len(lanes) + 1) * 32, 32, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(lanes), [None, pa.py_buffer(offsets), pa.py_buffer(digits)])


class Repeats:
    """Numbers equal rows of a file, so that each keeps an id of its own; holds in memory only what repeats.

    First `note` all rows, in a file of 8 bytes each; then `settle`; then `number` them, in the same order.
    """

    def __init__(self) -> None:
        self._noted = tempfile.TemporaryFile(prefix="marquee-rows-")  # noqa: SIM115  # closed by `close`
        self._repeated = np.empty(0, np.uint64)
        self._counts: Counter[int] = Counter()

    def close(self) -> None:
        """Forget what was noted."""
        self._noted.close()

    def note(self, lanes: Lanes) -> None:
        """Remember some rows."""
        self._noted.write(np.ascontiguousarray(lanes[:, 0]).tobytes())

    def settle(self) -> int:
        """Return how many rows repeat an earlier one, after finding out which."""
        self._noted.flush()
        if not self._noted.tell():
            return 0
        noted = np.memmap(self._noted, dtype=np.uint64, mode="r+")
        noted.sort()
        repeated, total = [np.empty(0, np.uint64)], 0
        for at in range(0, len(noted) - 1, _COMPARED_AT_ONCE):
            part = np.asarray(noted[at : at + _COMPARED_AT_ONCE + 1])
            again = part[1:][part[1:] == part[:-1]]
            total += len(again)
            repeated.append(np.unique(again))
        self._repeated = np.unique(np.concatenate(repeated))
        return total

    def number(self, lanes: Lanes) -> None:
        """Make rows that are equal to earlier ones different from them, in place."""
        if not len(self._repeated):
            return
        at = np.searchsorted(self._repeated, lanes[:, 0])
        rows = np.flatnonzero(self._repeated[np.minimum(at, len(self._repeated) - 1)] == lanes[:, 0])
        times = np.zeros(len(rows), dtype=np.uint64)
        for place, row in enumerate(lanes[rows, 0].tolist()):
            times[place] = self._counts[row]
            self._counts[row] += 1
        again = rows[times > 0]
        part = lanes[again]
        _mix(part, times[times > 0])
        lanes[again] = part
