"""Processes that share a folder of bundles: one fetches, the others wait; whoever dies is in nobody's way."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from features.contracts.errors import UnavailableError
from serving.bundle_cache import BundleCache
from serving.bundle_loader import REFUSED_FOR_US, BundleLoader
from serving.bundle_slot import BundleSlot, Outcome
from serving.clock import now_us
from tests.unit.serving.conftest import Hand, Shelf
from training.bundle.read import open_bundle, verify_bundle

NewSlot = Callable[[], BundleSlot]
ROOT = Path(__file__).resolve().parents[3]


class SlowShelf(Shelf):
    """A registry from which files come slowly."""

    def download(self, version: str, folder: Path) -> Path:
        """Return a copy of the files, after a moment in which others come too."""
        threading.Event().wait(0.5)
        return super().download(version, folder)


FETCH_FOR_EVER = """
import sys, threading
from pathlib import Path
from serving.bundle_cache import BundleCache
with BundleCache(Path(sys.argv[1])).incoming() as folder:
    (folder / "half.npy").write_bytes(b"half")
    print("begun", flush=True)
    threading.Event().wait()
"""


def no_check(path: Path, digest: str) -> None:
    del path, digest


@pytest.fixture
def fetcher(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Yield a process that is in the middle of a fetch."""
    command = [sys.executable, "-c", FETCH_FOR_EVER, str(tmp_path / "cache")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            yield process
        finally:
            process.kill()


def bundles(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir() if path.is_dir()}


def test_of_several_that_load_at_once_one_downloads_and_all_open(tmp_path: Path) -> None:
    shelf = SlowShelf(tmp_path / "shelf")
    version = shelf.put("1")

    def load(_: int) -> str:
        # Locks are of descriptors: to them it is the same whether processes or threads hold these.
        cache = BundleCache(tmp_path / "cache")
        loader = BundleLoader(shelf, cache, verify=verify_bundle, check=no_check, open_bundle=open_bundle, clock=now_us)
        return loader.load(version).digest

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(load, range(4))) == {version.digest}
    assert shelf.downloads == ["1"]


def test_while_another_process_fetches_nobody_else_does(tmp_path: Path, fetcher: "subprocess.Popen[str]") -> None:
    assert fetcher.poll() is None
    with pytest.raises(UnavailableError, match="another process"), BundleCache(tmp_path / "cache", 0.2).incoming():
        pytest.fail("two fetch at once")


def test_who_is_killed_while_it_fetches_leaves_neither_lock_nor_files(
    tmp_path: Path, fetcher: "subprocess.Popen[str]"
) -> None:
    cache = tmp_path / "cache"
    [left_over] = bundles(cache)
    fetcher.kill()
    fetcher.wait()
    with BundleCache(cache, 5).incoming() as folder:
        assert bundles(cache) == {folder.name}
    assert left_over not in bundles(cache)
    assert bundles(cache) == set()


def test_a_bundle_that_somebody_has_open_is_not_pruned(shelf: Shelf, new_slot: NewSlot, tmp_path: Path) -> None:
    slot, digest = new_slot(), shelf.put("1").digest
    served = slot.look().served
    assert served is not None
    cache = BundleCache(tmp_path / "cache")
    assert cache.prune(()) == []
    del served
    assert cache.prune(()) == [digest]
    assert bundles(cache.folder) == set()


def test_what_was_removed_while_one_waited_for_it_is_fetched_again(
    shelf: Shelf, new_slot: NewSlot, tmp_path: Path
) -> None:
    shelf.put("1")
    assert new_slot().look().outcome is Outcome.LOADED
    BundleCache(tmp_path / "cache").prune(())
    assert new_slot().look().outcome is Outcome.LOADED
    assert shelf.downloads == ["1", "1"]


def broken(shelf: Shelf) -> None:
    shelf.put("1")
    file = shelf.folder / "1" / "gram.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00\x01")


def test_a_refusal_holds_for_the_other_processes_of_the_machine(shelf: Shelf, hand: Hand, new_slot: NewSlot) -> None:
    broken(shelf)
    first, second = new_slot(), new_slot()
    assert first.look().outcome is Outcome.REFUSED
    assert second.look().outcome is Outcome.REFUSED
    assert second.refusal is not None
    assert "gram.npy" in second.refusal.reason
    assert shelf.downloads == ["1"]

    assert second.look(insist=True).outcome is Outcome.REFUSED
    assert shelf.downloads == ["1", "1"]

    hand.now_us += REFUSED_FOR_US + 1
    assert new_slot().look().outcome is Outcome.REFUSED
    assert shelf.downloads == ["1", "1", "1"]


def test_a_refusal_noted_before_the_clock_was_set_back_does_not_hold_until_it_has_caught_up(
    shelf: Shelf, hand: Hand, new_slot: NewSlot
) -> None:
    hand.now_us += 60 * REFUSED_FOR_US
    broken(shelf)
    assert new_slot().look().outcome is Outcome.REFUSED
    hand.now_us -= 60 * REFUSED_FOR_US
    assert new_slot().look().outcome is Outcome.REFUSED
    assert shelf.downloads == ["1", "1"], "it was tried again"


def test_a_note_of_a_refusal_that_cannot_be_read_refuses_nothing(
    shelf: Shelf, new_slot: NewSlot, tmp_path: Path
) -> None:
    shelf.put("1")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "refused.json").write_text("{", encoding="utf-8")
    assert new_slot().look().outcome is Outcome.LOADED


def test_news_of_another_process_is_heard_once(shelf: Shelf, new_slot: NewSlot) -> None:
    first, second = new_slot(), new_slot()
    shelf.put("1")
    follow(first)
    assert second.hears_news()
    follow(second)
    assert not second.hears_news()
    shelf.put("2", seed=2)
    follow(first)
    assert [second.hears_news(), second.hears_news(), first.hears_news()] == [True, False, False]


def test_without_the_registry_a_process_goes_where_the_others_have_gone(shelf: Shelf, new_slot: NewSlot) -> None:
    first, second = new_slot(), new_slot()
    shelf.put("1")
    follow(first)
    follow(second)
    shelf.put("2", seed=2)
    follow(first)
    shelf.away = True
    assert follow(second) is Outcome.LOADED
    assert second.served is not None
    assert second.served.version == "2"
    assert second.away is not None
    assert second.look(insist=True).outcome is Outcome.AWAY


def follow(slot: BundleSlot) -> Outcome:
    look = slot.look()
    if look.served is not None:
        slot.keep(look.served)
    return look.outcome
