"""Copies of encoders on disk that several processes share: locks are of descriptors, whoever holds these."""

from pathlib import Path

import pytest

from features.embedding import copies
from tests.support.encoder_files import write_encoder
from tests.support.texts import small_encoder


@pytest.fixture
def digest(tmp_path: Path) -> str:
    """Return the digest of an encoder of which there is a copy."""
    encoder = small_encoder(60)
    return write_encoder(encoder, tmp_path / encoder.digest)


def test_a_copy_stays_while_its_encoder_lives(tmp_path: Path, digest: str) -> None:
    encoder, other = copies.opened(tmp_path / digest, digest), copies.opened(tmp_path / digest, digest)
    assert encoder is not None
    assert encoder.digest == digest
    assert copies.prune(tmp_path, ()) == []
    del encoder
    assert copies.prune(tmp_path, ()) == []
    del other
    assert copies.prune(tmp_path, {digest}) == []
    assert copies.prune(tmp_path, ()) == [digest]
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_whole_copy_is_not_opened_and_holds_nothing(tmp_path: Path, digest: str) -> None:
    assert copies.opened(tmp_path / ("0" * 64), "0" * 64) is None
    (tmp_path / digest / "axes.npy").write_bytes(b"")
    assert copies.opened(tmp_path / digest, digest) is None
    (tmp_path / ("1" * 64)).write_bytes(b"a file in a folder's place")
    assert copies.opened(tmp_path / ("1" * 64), "1" * 64) is None
    assert copies.prune(tmp_path, ()) == [digest]
