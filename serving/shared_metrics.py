"""Series of several workers as one: each counts in files of its own, and whoever is asked adds all of them up.

The files are prometheus_client's (its multi-process mode), named by the worker's place rather than its process id: who
follows in a place counts on where the one before was, so that totals never fall and files do not gather.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from serving.board import Board

_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX: Final = "marquee-series-"


class WorkerProcesses(Collector):
    """Memory, time and descriptors of each worker, by place."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        """Give the series of all workers that live."""
        found: dict[str, Metric] = {}
        for place, pid in self._board.workers().items():
            for metric in _process_series(pid):
                series = found.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    series.add_sample(sample.name, {**sample.labels, "worker": str(place)}, sample.value)
        yield from found.values()


@contextmanager
def folder_of_series() -> Iterator[Path]:
    """Yield a folder for the files of one server's workers, and remove those of servers that were killed.

    Each is locked as long as any process of its server lives, workers that outlive their parent too: process ids would
    say nothing across containers that share it.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    folder, lock = _locked_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder() -> tuple[Path, int]:
    """Return a new folder and the descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            # Another server started just now, and took it for abandoned before it was locked.
            os.close(lock)


def _remove_abandoned(where: Path) -> None:
    """Remove folders of ours that no process holds locked any more."""
    for folder in where.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another server removes it, or another user's
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)


def write_as(place: int, folder: Path, board: Board) -> CollectorRegistry:
    """Let all series made from now on be those of a worker, and return what gives the series of all workers."""
    os.environ[_FOLDER] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]
    everyone = CollectorRegistry()
    MultiProcessCollector(everyone, str(folder))  # type: ignore[no-untyped-call]
    everyone.register(WorkerProcesses(board))
    return everyone


def forget(place: int, folder: Path) -> None:
    """Let what a worker that is gone said of the present go; what it counted stays."""
    mark_process_dead(place, str(folder))  # type: ignore[no-untyped-call]


def _process_series(pid: int) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()
