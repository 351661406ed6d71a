"""A bundle reads back as it was written, and refuses any change of a byte."""

import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.contracts.profiles import Options, UserHistory
from features.contracts.statistics import DAY_US
from tests.support.synthetic import trained, trained_on_texts
from tests.support.tiny_bundle import write_empty_bundle
from training.bundle.bundle import Bundle
from training.bundle.manifest import MANIFEST, REFERENCE_FILE, BundleError, file_digest, manifest_digest
from training.bundle.read import check_golden, digest_of, open_bundle, verify_bundle
from training.bundle.write import arrays_of, write_bundle


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("bundles") / "one"
    created_at = datetime(2026, 1, 1, tzinfo=UTC)
    return path, write_bundle(path, trained()[1], created_at=created_at, code_version="test", seed=3)


@pytest.fixture
def copied(written: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "copy"
    shutil.copytree(written[0], path)
    return path, written[1]


def replace_manifest(path: Path, **changes: object) -> str:
    raw = msgspec.json.decode((path / MANIFEST).read_bytes())
    encoded = msgspec.json.encode(raw | changes)
    (path / MANIFEST).write_bytes(encoded)
    return manifest_digest(encoded)


def test_read_gives_what_was_written(written: tuple[Path, str]) -> None:
    interactions, parts = trained()
    bundle = open_bundle(*written)
    assert digest_of(written[0]) == written[1]
    for name, array in arrays_of(parts).items():
        np.testing.assert_array_equal(arrays_of(bundle.parts)[name], array)
    assert bundle.parts.plan == parts.plan
    assert bundle.parts.weights == parts.weights
    assert bundle.parts.reference == parts.reference is not None
    check_golden(bundle)
    profiles = interactions.profiles(np.arange(10), 500)
    statistics = parts.state.at(parts.closed_at_us)
    mine = parts.recommender().recommend(profiles, statistics, parts.closed_at_us + 1, Options())
    theirs = bundle.recommend(profiles, bundle.statistics, parts.closed_at_us + 1, Options())
    np.testing.assert_array_equal(mine.items, theirs.items)
    np.testing.assert_array_equal(mine.scores, theirs.scores)


def test_writing_twice_gives_one_digest(written: tuple[Path, str], tmp_path: Path) -> None:
    created_at = datetime(2026, 1, 1, tzinfo=UTC)
    assert write_bundle(tmp_path / "b", trained()[1], created_at=created_at, code_version="test", seed=3) == written[1]


def test_a_bundle_is_never_written_over(written: tuple[Path, str]) -> None:
    with pytest.raises(BundleError, match="is not empty"):
        write_bundle(written[0], trained()[1], created_at=datetime(2026, 1, 1, tzinfo=UTC), code_version="", seed=0)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_flipped_byte_anywhere_is_refused(written: tuple[Path, str], data: st.DataObject) -> None:
    path, digest = written
    file = data.draw(st.sampled_from(sorted(path.iterdir())))
    original = file.read_bytes()
    position = data.draw(st.integers(0, len(original) - 1))
    flipped = bytearray(original)
    flipped[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        file.write_bytes(flipped)
        with pytest.raises(BundleError):
            verify_bundle(path, digest)
    finally:
        file.write_bytes(original)


def test_missing_and_extra_files_are_named(copied: tuple[Path, str]) -> None:
    path, digest = copied
    (path / "golden.json").unlink()
    (path / "extra.npy").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"missing \['golden.json'\], not in the manifest \['extra.npy'\]"):
        verify_bundle(path, digest)


def test_another_digest_is_refused(copied: tuple[Path, str]) -> None:
    with pytest.raises(BundleError, match="it is not the version that was published"):
        open_bundle(copied[0], "0" * 64)


def test_another_feature_spec_is_refused(copied: tuple[Path, str]) -> None:
    digest = replace_manifest(copied[0], spec_hash="0" * 64)
    with pytest.raises(BundleError, match="was trained with feature spec 000000000000"):
        open_bundle(copied[0], digest)


def test_another_format_is_refused(copied: tuple[Path, str]) -> None:
    digest = replace_manifest(copied[0], format_version=99)
    with pytest.raises(BundleError, match="has format 99, this code reads format 4"):
        open_bundle(copied[0], digest)


def test_a_bundle_of_before_references_were_kept_is_read(copied: tuple[Path, str]) -> None:
    path, _ = copied
    (path / REFERENCE_FILE).unlink()
    files = msgspec.json.decode((path / MANIFEST).read_bytes())["files"]
    del files[REFERENCE_FILE]
    opened = open_bundle(path, replace_manifest(path, files=files))
    assert opened.parts.reference is None
    check_golden(opened)


def test_who_likes_what_the_gram_lacks_is_folded_in_as_before_it_was_written(tmp_path: Path) -> None:
    _, parts = trained_on_texts()
    path, item = tmp_path / "texts", np.array([0, 1, *parts.fresh[:3]], np.int32)
    digest = write_bundle(path, parts, created_at=datetime(2026, 1, 1, tzinfo=UTC), code_version="test", seed=3)
    weight = np.ones(len(item), dtype=np.float32)
    read = open_bundle(path, digest).parts.fold_in
    np.testing.assert_array_equal(np.flatnonzero(~read.held), np.sort(parts.fresh))  # type: ignore[operator]
    np.testing.assert_array_equal(read.vector(item, weight), parts.fold_in.vector(item, weight))
    stripped = msgspec.json.decode((path / MANIFEST).read_bytes())
    del stripped["gram_lacks_fresh"]
    (path / MANIFEST).write_bytes(msgspec.json.encode(stripped))
    before = open_bundle(path, digest_of(path)).parts.fold_in
    as_then = replace(parts.fold_in, held=None)
    np.testing.assert_array_equal(before.vector(item, weight), as_then.vector(item, weight))


def test_a_bundle_that_answers_otherwise_fails_its_golden_requests(copied: tuple[Path, str]) -> None:
    path, _ = copied
    golden = msgspec.json.decode((path / "golden.json").read_bytes())
    golden[-1]["scores"][0] += 0.01
    (path / "golden.json").write_bytes(msgspec.json.encode(golden))
    opened = open_bundle_without_checks(path)
    with pytest.raises(BundleError, match="golden request 5"):
        check_golden(opened)


def open_bundle_without_checks(path: Path) -> Bundle:
    """Return the bundle with a manifest that fits its changed files."""
    files = msgspec.json.decode((path / MANIFEST).read_bytes())["files"]
    found = file_digest(path / "golden.json")
    files["golden.json"] = {"size": found.size, "sha256": found.sha256}
    return open_bundle(path, replace_manifest(path, files=files))


def test_the_child_process_says_why_a_bundle_is_refused(copied: tuple[Path, str]) -> None:
    path, digest = copied
    command = [sys.executable, "-m", "training.bundle", "check", str(path), digest]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    (path / "ranker.txt").write_bytes(b"tree\nversion=v4\n")
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "ranker.txt" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_histories_are_encoded_with_what_the_bundle_knows(written: tuple[Path, str]) -> None:
    bundle = open_bundle(*written)
    at_us = [5 * DAY_US, 4 * DAY_US, 3 * DAY_US]
    history = UserHistory(
        "someone",
        event_ids=("a", "b", "c"),
        item_ids=("i3", "unknown", "i1"),
        actions=("rating", "view", "no_such_action"),
        values=(4.0, float("nan"), 1.0),
        at_us=at_us,
        seen_item_ids=("i9", "i3", "unknown", "i1"),
    )
    profiles = bundle.encode([UserHistory("nobody"), history])
    assert profiles.user_ids == ("nobody", "someone")
    assert bundle.items.external(profiles.item) == ["i3", "i1"]
    np.testing.assert_allclose(profiles.weight, [0.8, 0.0])
    assert profiles.at_us.tolist() == [5 * DAY_US, 3 * DAY_US]
    assert bundle.items.external(profiles.seen(1)) == ["i1", "i3", "i9"]


def test_similar_items_share_users(written: tuple[Path, str]) -> None:
    bundle = open_bundle(*written)
    items, scores = bundle.similar(4, 5)
    assert 4 not in items
    assert (np.diff(scores) <= 0).all()
    eligible = np.ones(len(bundle.items), dtype=bool)
    eligible[items[0]] = False
    assert items[0] not in bundle.similar(4, 5, eligible)[0]


def test_a_bundle_without_items_is_refused(tmp_path: Path) -> None:
    digest = write_empty_bundle(tmp_path / "bundle")
    verify_bundle(tmp_path / "bundle", digest)
    with pytest.raises(BundleError, match="no items"):
        open_bundle(tmp_path / "bundle", digest)


def test_a_bundle_that_nothing_shows_to_work_is_refused(copied: tuple[Path, str]) -> None:
    path = copied[0]
    (path / "golden.json").write_bytes(b"[]")
    files = msgspec.json.decode((path / MANIFEST).read_bytes())["files"]
    found = file_digest(path / "golden.json")
    digest = replace_manifest(path, files=files | {"golden.json": msgspec.to_builtins(found)})
    with pytest.raises(BundleError, match="no golden requests"):
        check_golden(open_bundle(path, digest))
