"""Lines of the log: each in one piece, in the form that was asked for, and not the same one over and over."""

import json
import logging
import subprocess
import sys

from features.log import AGAIN_AFTER_S, NotAgain


def line(message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("kafka.cluster", logging.ERROR, "", 0, message, args, None)


def test_what_a_library_says_over_and_over_passes_once_a_minute_and_is_counted() -> None:
    now_s = [0.0]
    filtered = NotAgain(lambda: now_s[0])
    passed = [
        filtered.filter(line("Topic %s: not found after %.1f s at 0x7f%d", "a", tries, tries)) for tries in range(5)
    ]
    assert passed == [True, False, False, False, False]
    assert filtered.filter(line("Topic %s: not found", "b")), "it is another one"
    now_s[0] = AGAIN_AFTER_S
    again = line("Topic %s: not found after %.1f s at 0x7f%d", "a", 9, 9)
    assert filtered.filter(again)
    assert again.getMessage() == "Topic a: not found after 9.0 s at 0x7f9 (4 more of these since the last one)"


def test_it_does_not_remember_all_that_was_ever_said() -> None:
    filtered = NotAgain(lambda: 0.0)
    words = ["".join(chr(ord("a") + int(digit)) for digit in str(number)) for number in range(3_000)]
    assert all(filtered.filter(line(word)) for word in words)
    assert len(filtered._said) <= 1_000


def written(log_format: str) -> list[bytes]:
    """Return what a process writes to stderr, unbuffered as in the stack: a piece for each call."""
    program = f"""
import io, logging, sys, structlog
pieces = []
sys.stderr = type("Pieces", (io.StringIO,), {{"write": lambda _, piece: pieces.append(piece)}})()
from features.log import configure_logging
configure_logging({log_format!r})
structlog.get_logger().warning("ours", count=1)
logging.getLogger("kafka").warning("a library's %d", 2)
sys.stdout.write("\\0".join(pieces))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return done.stdout.split(b"\0")


def test_each_line_is_written_in_one_piece() -> None:
    ours, others = written("console")
    assert ours.endswith(b"\n")
    assert others.endswith(b"kafka a library's 2\n")


def test_for_machines_a_librarys_lines_are_json_too() -> None:
    ours, others = (json.loads(piece) for piece in written("json"))
    assert (ours["event"], ours["level"], ours["count"]) == ("ours", "warning", 1)
    assert (others["event"], others["level"], others["logger"]) == ("a library's 2", "warning", "kafka")
    assert others["timestamp"].endswith("Z")
