"""The slot follows the alias and never gives up a good version for a bad one."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from serving.bundle_cache import BundleCache
from serving.bundle_loader import RefusedError, check_in_child
from serving.bundle_slot import BundleSlot, Outcome
from tests.support.tiny_bundle import write_tiny_bundle
from tests.unit.serving.conftest import Hand, Shelf

NewSlot = Callable[[], BundleSlot]


def follow(slot: BundleSlot) -> Outcome:
    """Look, and keep what is found, as the server does."""
    look = slot.look()
    if look.served is not None:
        slot.keep(look.served)
    return look.outcome


def flip(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)


def version_of(slot: BundleSlot) -> str:
    assert slot.served is not None
    return slot.served.version


def test_it_loads_what_the_alias_points_to_and_then_rests(shelf: Shelf, new_slot: NewSlot) -> None:
    slot = new_slot()
    assert follow(slot) is Outcome.NO_ALIAS
    shelf.put("1")
    assert follow(slot) is Outcome.LOADED
    assert follow(slot) is Outcome.UNCHANGED
    shelf.put("2", seed=2)
    assert follow(slot) is Outcome.LOADED
    assert version_of(slot) == "2"
    assert shelf.downloads == ["1", "2"]


def test_an_alias_of_a_version_that_is_not_there_is_refused_until_it_moves(shelf: Shelf, new_slot: NewSlot) -> None:
    slot = new_slot()
    shelf.put("1")
    follow(slot)
    shelf.champion = "9"
    with capture_logs() as lines:
        assert [follow(slot) for _ in range(3)] == [Outcome.REFUSED, Outcome.UNCHANGED, Outcome.UNCHANGED]
    assert [line["event"] for line in lines] == ["version_refused"]
    assert version_of(slot) == "1"
    assert slot.away is None
    assert slot.refusal is not None
    assert "points to version 9" in slot.refusal.reason
    assert slot.look(insist=True).outcome is Outcome.REFUSED
    shelf.put("2", seed=2)
    assert follow(slot) is Outcome.LOADED
    assert slot.refusal is None


def test_a_rollback_opens_the_kept_copy_without_a_download(shelf: Shelf, new_slot: NewSlot) -> None:
    slot = new_slot()
    for version, seed in (("1", 1), ("2", 2)):
        shelf.put(version, seed)
        follow(slot)
    shelf.champion = "1"
    assert follow(slot) is Outcome.LOADED
    assert version_of(slot) == "1"
    assert shelf.downloads == ["1", "2"]


def test_only_the_present_and_the_previous_bundle_stay_on_disk(shelf: Shelf, new_slot: NewSlot, tmp_path: Path) -> None:
    slot, digests = new_slot(), []
    for version in ("1", "2", "3"):
        digests.append(shelf.put(version, seed=int(version)).digest)
        follow(slot)
    assert {path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()} == set(digests[1:])


def test_the_previous_bundle_is_at_hand_after_a_restart_and_in_a_process_that_never_served_it(
    shelf: Shelf, new_slot: NewSlot
) -> None:
    slot = new_slot()
    for version in ("1", "2"):
        shelf.put(version, seed=int(version))
        follow(slot)
    restarted = new_slot()
    served = restarted.resume()
    assert served is not None
    restarted.keep(served)
    shelf.champion = "1"
    assert follow(restarted) is Outcome.LOADED
    assert (version_of(restarted), restarted.pointed) == ("1", "1")
    shelf.champion = "2"
    assert follow(restarted) is Outcome.LOADED
    assert shelf.downloads == ["1", "2"]


def test_a_server_that_never_served_it_fetches_the_previous_bundle_before_it_is_asked(
    shelf: Shelf, new_slot: NewSlot
) -> None:
    for version in ("1", "2"):
        shelf.put(version, seed=int(version))
    slot, shelf.previous = new_slot(), "1"
    assert slot.fetch_previous() is None, "nothing is served yet"
    follow(slot)
    note = slot.fetch_previous()
    assert note is not None
    slot.note_previous(note)
    assert slot.fetch_previous() is None
    assert shelf.downloads == ["2", "1"]
    shelf.champion, shelf.previous = "1", "2"
    assert follow(slot) is Outcome.LOADED
    assert slot.fetch_previous() is None
    assert shelf.downloads == ["2", "1"]


def test_a_previous_bundle_is_not_noted_beside_another_than_it_was_fetched_beside(
    shelf: Shelf, new_slot: NewSlot, tmp_path: Path
) -> None:
    digests = [shelf.put(version, seed=int(version)).digest for version in ("1", "2", "3")]
    slot, shelf.champion, shelf.previous = new_slot(), "2", "1"
    follow(slot)
    note = slot.fetch_previous()
    shelf.champion, shelf.previous = "3", "2"
    follow(slot)
    assert note is not None
    slot.note_previous(note)
    assert slot.fetch_previous() is None
    assert {path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()} == set(digests[1:])


def test_a_previous_bundle_that_a_full_disk_does_not_note_is_tried_again(
    shelf: Shelf, new_slot: NewSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1", "2"):
        shelf.put(version, seed=int(version))
    slot, shelf.previous = new_slot(), "1"
    follow(slot)
    note = slot.fetch_previous()
    assert note is not None

    def full(cache: BundleCache, good: object) -> None:
        raise OSError(errno.ENOSPC, f"no room in {cache.folder} for {good}")

    with monkeypatch.context() as patched:
        patched.setattr(BundleCache, "remember", full)
        slot.note_previous(note)
    assert slot.fetch_previous() == note
    slot.note_previous(note)
    assert slot.fetch_previous() is None
    assert shelf.downloads == ["2", "1"]


def test_a_previous_bundle_that_is_bad_is_tried_once(shelf: Shelf, new_slot: NewSlot) -> None:
    for version in ("1", "2"):
        shelf.put(version, seed=int(version))
    flip(shelf.folder / "1" / "gram.npy")
    slot, shelf.previous = new_slot(), "1"
    follow(slot)
    assert slot.fetch_previous() is None
    assert slot.fetch_previous() is None
    assert shelf.downloads == ["2", "1"]


def test_a_flipped_byte_is_refused_once_and_the_old_version_stays(shelf: Shelf, new_slot: NewSlot) -> None:
    slot = new_slot()
    shelf.put("1")
    follow(slot)
    shelf.put("2", seed=2)
    flip(shelf.folder / "2" / "gram.npy")

    assert follow(slot) is Outcome.REFUSED
    assert follow(slot) is Outcome.UNCHANGED
    assert shelf.downloads == ["1", "2"]
    assert version_of(slot) == "1"
    assert slot.refusal is not None
    assert "gram.npy" in slot.refusal.reason
    assert slot.look(insist=True).outcome is Outcome.REFUSED
    assert shelf.downloads == ["1", "2", "2"]


def test_nothing_of_a_refused_bundle_stays_on_disk(shelf: Shelf, new_slot: NewSlot, tmp_path: Path) -> None:
    shelf.put("1")
    flip(shelf.folder / "1" / "manifest.json")
    assert follow(new_slot()) is Outcome.REFUSED
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("digest", [None, "../../etc", "0" * 63])
def test_without_a_proper_digest_nothing_is_even_downloaded(
    shelf: Shelf, new_slot: NewSlot, digest: str | None
) -> None:
    version = shelf.put("1")
    shelf.versions["1"] = type(version)("1", digest, "run")
    assert follow(new_slot()) is Outcome.REFUSED
    assert shelf.downloads == []


def test_a_refusal_ends_when_the_alias_goes_back_or_on(shelf: Shelf, new_slot: NewSlot) -> None:
    slot = new_slot()
    shelf.put("1")
    follow(slot)
    shelf.put("2", seed=2, tagged=False)
    assert follow(slot) is Outcome.REFUSED
    shelf.champion = "1"
    assert follow(slot) is Outcome.UNCHANGED
    assert slot.refusal is None


def test_a_digest_that_is_tagged_later_is_tried(shelf: Shelf, new_slot: NewSlot) -> None:
    slot, right = new_slot(), shelf.put("1")
    shelf.versions["1"] = type(right)("1", None, "run")
    assert follow(slot) is Outcome.REFUSED
    shelf.versions["1"] = right
    assert follow(slot) is Outcome.LOADED


def test_the_same_bytes_under_a_new_number_are_not_loaded_again(shelf: Shelf, new_slot: NewSlot) -> None:
    slot = new_slot()
    shelf.put("1")
    follow(slot)
    before = slot.served
    shelf.put("2")
    assert follow(slot) is Outcome.LOADED
    assert version_of(slot) == "2"
    assert before is not None
    assert slot.served is not None
    assert slot.served.model is before.model
    assert shelf.downloads == ["1"]


def test_while_the_registry_is_away_it_is_asked_less_often(shelf: Shelf, hand: Hand, new_slot: NewSlot) -> None:
    slot = new_slot()
    shelf.put("1")
    shelf.away = True
    assert follow(slot) is Outcome.AWAY
    shelf.away = False
    assert follow(slot) is Outcome.AWAY
    assert slot.away is not None
    assert slot.reached is False
    hand.now_us += 2_000_000
    assert follow(slot) is Outcome.LOADED
    assert slot.away is None
    assert slot.reached


def test_a_full_disk_is_not_told_as_a_registry_that_is_away(
    shelf: Shelf, new_slot: NewSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(version: str, folder: Path) -> Path:
        raise OSError(errno.ENOSPC, f"no room in {folder} for version {version}")

    slot = new_slot()
    shelf.put("1")
    monkeypatch.setattr(shelf, "download", full)
    assert follow(slot) is Outcome.AWAY
    assert "no room" in str(slot.away)
    assert slot.reached


def test_a_clock_set_back_does_not_stretch_the_pause(shelf: Shelf, hand: Hand, new_slot: NewSlot) -> None:
    slot = new_slot()
    shelf.put("1")
    shelf.away = True
    follow(slot)
    shelf.away, hand.now_us = False, 5
    assert follow(slot) is Outcome.LOADED


def test_a_restart_resumes_the_last_good_version_without_the_registry(shelf: Shelf, new_slot: NewSlot) -> None:
    assert new_slot().resume() is None
    shelf.put("1", seed=1)
    follow(new_slot())
    shelf.away = True
    served = new_slot().resume()
    assert served is not None
    assert (served.version, served.run_id) == ("1", "run-1")


def test_what_was_loaded_but_not_kept_is_not_the_last_good_version(shelf: Shelf, new_slot: NewSlot) -> None:
    slot = new_slot()
    shelf.put("1", seed=1)
    follow(slot)
    shelf.put("2", seed=2)
    assert slot.look().served is not None
    resumed = new_slot().resume()
    assert resumed is not None
    assert resumed.version == "1"


def test_a_kept_bundle_that_rotted_is_fetched_again(shelf: Shelf, new_slot: NewSlot, tmp_path: Path) -> None:
    digest = shelf.put("1").digest
    follow(new_slot())
    file = tmp_path / "cache" / str(digest) / "gram.npy"
    file.chmod(0o644)
    flip(file)
    assert new_slot().resume() is None
    assert follow(new_slot()) is Outcome.LOADED
    assert shelf.downloads == ["1", "1"]


@pytest.mark.parametrize("note", ["{", "[]", '{"version": "1", "digest": null, "run_id": "r"}', '{"version": "1"}'])
def test_an_unreadable_note_does_not_stop_a_start(shelf: Shelf, new_slot: NewSlot, tmp_path: Path, note: str) -> None:
    slot = new_slot()
    shelf.put("1")
    (tmp_path / "cache" / "last_good.json").write_text(note)
    assert slot.resume() is None
    assert follow(slot) is Outcome.LOADED


def test_kept_bundles_are_read_only(shelf: Shelf, new_slot: NewSlot, tmp_path: Path) -> None:
    digest = shelf.put("1").digest
    follow(new_slot())
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "cache" / str(digest)).iterdir()}
    assert modes == {0o444}


def test_the_child_process_passes_a_sound_bundle_and_names_the_fault_of_another(tmp_path: Path) -> None:
    digest = write_tiny_bundle(tmp_path / "bundle")
    check_in_child(tmp_path / "bundle", digest)
    with pytest.raises(RefusedError, match=r"exit code 2: .*its manifest has digest"):
        check_in_child(tmp_path / "bundle", "0" * 64)


def unwritable(tmp_path: Path) -> Path:
    """Let no note be written any more, as on a disk that is full or read-only, and return what is in the way."""
    in_the_way = tmp_path / "cache" / f"last_good.json.{os.getpid()}"
    in_the_way.mkdir()
    return in_the_way


def test_a_version_that_cannot_be_noted_is_served(shelf: Shelf, new_slot: NewSlot, tmp_path: Path) -> None:
    slot = new_slot()
    shelf.put("1")
    follow(slot)
    in_the_way = unwritable(tmp_path)
    shelf.put("2", seed=2)
    assert follow(slot) is Outcome.LOADED
    assert version_of(slot) == "2"
    assert follow(slot) is Outcome.UNCHANGED

    restarted = new_slot()
    served = restarted.resume()
    assert served is not None
    restarted.keep(served)
    assert version_of(restarted) == "1"
    in_the_way.rmdir()
    assert follow(restarted) is Outcome.LOADED
    shelf.away = True
    resumed = new_slot().resume()
    assert resumed is not None
    assert resumed.version == "2"


def test_a_note_that_could_not_be_replaced_undoes_no_rollback(
    shelf: Shelf, hand: Hand, new_slot: NewSlot, tmp_path: Path
) -> None:
    slot, other = new_slot(), new_slot()
    for version in ("1", "2"):
        shelf.put(version, seed=int(version))
        follow(slot)
    in_the_way = unwritable(tmp_path)
    shelf.champion = "1"
    assert follow(slot) is Outcome.LOADED
    shelf.away = True
    assert follow(slot) is Outcome.AWAY
    assert version_of(slot) == "1"

    # What another process notes later is news.
    in_the_way.rmdir()
    shelf.away = False
    shelf.put("3", seed=3)
    follow(other)
    shelf.away, hand.now_us = True, hand.now_us + 10_000_000
    assert follow(slot) is Outcome.LOADED
    assert version_of(slot) == "3"


def test_old_bundles_that_cannot_be_removed_are_no_harm(
    shelf: Shelf, new_slot: NewSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(cache: BundleCache, keep: object) -> list[str]:
        raise OSError(errno.EROFS, f"{cache.folder} is read-only, whatever is kept: {keep}")

    monkeypatch.setattr(BundleCache, "prune", read_only)
    slot = new_slot()
    shelf.put("1")
    assert follow(slot) is Outcome.LOADED
    assert version_of(slot) == "1"


def test_a_kept_bundle_that_the_disk_does_not_give_stops_no_start(
    shelf: Shelf, new_slot: NewSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.put("1")
    follow(new_slot())

    def broken(cache: BundleCache, digest: str, open_bundle: object) -> None:
        raise OSError(errno.EIO, f"{cache.path(digest)} cannot be read by {open_bundle}")

    monkeypatch.setattr(BundleCache, "open_kept", broken)
    assert new_slot().resume() is None
