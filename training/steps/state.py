"""The files of one training run: what each step leaves behind, and how the next one knows that it may start."""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import structlog

from features.contracts.errors import MarqueeError

log = structlog.get_logger(__name__)

STEPS: Final = ("snapshot", "retrieval", "ranker", "evaluate", "register", "gate", "promote")
"""Names of the steps of a training run, in their order."""

DONE: Final = "done"
SKIPPED: Final = "skipped"
PROMOTED: Final = "promoted"
KEPT: Final = "kept"
"""What the step `promote` comes to: the alias moved, or it stays."""

_LOCK: Final = ".lock"
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


class RunError(MarqueeError):
    """A training run's files are not as a step needs them; the message names the step to run first."""


class StepRecord(msgspec.Struct, frozen=True):
    """What a finished step leaves behind as ``NAME.json``; its presence says that the step's files are complete.

    Attributes
    ----------
    step
        Name of the step.
    outcome
        `done`, `skipped`, or a word of the step's own (gate: `promoted`, `refused`, `needs_human`;
        promote: `promoted`, `kept`).
    summary
        One line for people.
    finished_at
        ISO 8601, UTC.
    took_s
        Wall-clock seconds.
    results
        What later steps and the announcement read, JSON values.
    """

    step: str
    outcome: str
    summary: str
    finished_at: str
    took_s: float
    results: dict[str, Any] = {}


def run_name(run_id: str) -> str:
    """Return a run id as a name that is safe in paths, tags and searches; safe ids stay as they are.

    Airflow's run ids hold colons and plus signs; a short hash keeps changed names apart.

    >>> run_name("nightly-7")
    'nightly-7'
    >>> run_name("manual__2026-01-01T00:00:00+00:00")
    'manual__2026-01-01T00-00-00-00-00-1e8dc70c'

    Raises
    ------
    RunError
        If the id is empty.
    """
    if _SAFE.fullmatch(run_id):
        return run_id
    if not run_id.strip():
        raise RunError("run id is empty; expected a name such as `nightly-7`: pass --run ID")
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"{_UNSAFE.sub('-', run_id).strip('_.-')[:100] or 'run'}-{digest}"


class RunFolder:
    """The folder of one training run below the work folder."""

    def __init__(self, work_dir: Path, run_id: str) -> None:
        self.run = run_name(run_id)
        self.path = work_dir / self.run

    def record(self, step: str) -> StepRecord | None:
        """Return what a step left behind, None where it has not finished.

        Raises
        ------
        RunError
            If the file is there but is not a record of a step.
        """
        file = self.path / f"{step}.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=StepRecord)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise RunError(
                f"{file}: {error}; expected the record of a finished step. Delete it and run again."
            ) from error

    def finished(self, step: str) -> StepRecord:
        """Return what a step left behind.

        Raises
        ------
        RunError
            If it has not finished, naming the first step that is missing.
        """
        record = self.record(step)
        if record is None:
            missing = next(name for name in STEPS if self.record(name) is None)
            raise RunError(
                f"run {self.run!r}: step {step!r} has not finished (no {step}.json in {self.path}). "
                f"Run `python -m training step {missing} --run {self.run}` first."
            )
        return record

    def finish(self, record: StepRecord) -> None:
        """Write a step's record: last of its files, and at once or not at all."""
        write_atomically(self.path / f"{record.step}.json", msgspec.json.format(msgspec.json.encode(record)))

    @contextmanager
    def locked(self, *, wait: bool = True) -> Iterator[None]:
        """Hold the run for one process: a retry must not work beside a task that only seems to be dead.

        It waits for that one to end, and then finds what it has finished: nothing, where it removed the run. The kernel
        drops the lock with the process that holds it, however that ends.

        Raises
        ------
        RunError
            If another process works on this run, and `wait` is False.
        """
        with self._lock_file(wait=wait):
            yield

    def remove(self) -> None:
        """Remove the run's files; only who holds the run may.

        The lock goes last: who comes meanwhile finds it held, and who waited for it sees that it is gone.
        """
        for entry in self.path.iterdir():
            if entry.name != _LOCK:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        (self.path / _LOCK).unlink()
        with suppress(OSError):  # not empty: another process has begun the run anew
            self.path.rmdir()

    def _lock_file(self, *, wait: bool) -> IO[bytes]:
        """Return the run's lock, held and in its place: who held it until now may have removed the run."""
        place = self.path / _LOCK
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError), ExitStack() as opened:
                lock = opened.enter_context(place.open("ab"))
                self._take(lock, wait=wait)
                if os.path.samestat(os.fstat(lock.fileno()), place.stat()):
                    opened.pop_all()
                    return lock

    def _take(self, lock: IO[bytes], *, wait: bool) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy = f"run {self.run!r}: another process works on it (lock {lock.name})"
            if not wait:
                raise RunError(busy) from None
            log.warning("waiting", reason=busy)
            fcntl.flock(lock, fcntl.LOCK_EX)


def write_atomically(file: Path, content: bytes) -> None:
    """Write a file so that readers, and a machine that loses power, find the old content or the new, never a part."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with draft.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
