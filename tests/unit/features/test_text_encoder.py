"""The default encoder: vectors of length one or zero, files that are verified, and drift that shows."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from features.text.documents import Document
from features.text.encoder import Encoder, EncoderError, query_of
from features.text.files import read_encoder
from features.text.manifest import MANIFEST
from features.text.svd import SvdEncoder, fit_svd
from tests.support.encoder_files import write_encoder
from tests.support.library import library


@pytest.fixture(scope="module")
def encoder() -> SvdEncoder:
    return fit_svd(library(), dimension=16)


def test_vectors_are_of_length_one_or_zero(encoder: SvdEncoder) -> None:
    vectors = encoder.encode([*("dragon sword", "stock market", "", "\U0001f600"), "qqqqqq"])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 0, 0, 0], atol=1e-6)


def test_like_texts_are_near(encoder: SvdEncoder) -> None:
    dragon, sword, market = encoder.encode(["dragon castle", "sword of the castle", "stock market"])
    assert dragon @ sword > 0.5 > dragon @ market


def test_a_row_depends_on_its_text_alone(encoder: SvdEncoder) -> None:
    documents = library()
    alone = np.concatenate([encoder.encode_documents([document]) for document in documents])
    np.testing.assert_array_equal(alone, encoder.encode_documents(documents))
    np.testing.assert_array_equal(alone, encoder.embed(documents).vectors)
    assert encoder.encode([]).shape == (0, 16)


def test_files_give_the_same_encoder(encoder: SvdEncoder, tmp_path: Path) -> None:
    digest = write_encoder(encoder, tmp_path / "one")
    read: Encoder = read_encoder(tmp_path / "one", digest)
    assert (read.digest, read.kind, read.dimension, read.facts) == (digest, "svd", 16, encoder.facts)
    assert digest == encoder.digest
    np.testing.assert_array_equal(read.encode_documents(library()), encoder.encode_documents(library()))
    mine, theirs = encoder.embed(library()).terms, read.embed(library()).terms
    np.testing.assert_array_equal(mine.value, theirs.value)
    assert query_of(read, "dragon").sought.worth.tolist() == query_of(encoder, "dragon").sought.worth.tolist()


def test_one_fit_one_digest() -> None:
    assert fit_svd(library(), dimension=8, seed=3).digest == fit_svd(library(), dimension=8, seed=3).digest


def change(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        raw = (folder / name).read_bytes()
        assert old in raw
        (folder / name).write_bytes(raw.replace(old, new))

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / MANIFEST).unlink(), "no manifest.json"),
        (lambda folder: (folder / "axes.npy").unlink(), "axes.npy is missing"),
        (change("axes.npy", b"NUMPY", b"NUMPZ"), "axes.npy is"),
        (change(MANIFEST, b'"kind":"svd"', b'"kind":"xyz"'), "digest is"),
    ],
)
def test_damage_is_named(encoder: SvdEncoder, tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    digest = write_encoder(encoder, tmp_path / "one")
    damage(tmp_path / "one")
    with pytest.raises(EncoderError, match=message):
        read_encoder(tmp_path / "one", digest)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"kind":"svd"', b'"kind":"xyz"', "kind 'xyz' is none of"),
        (b'"format_version":1', b'"format_version":9', "format 9"),
        (b'"kind"', b'"kinds"', "cannot be read"),
    ],
)
def test_a_manifest_of_other_code_is_refused(
    encoder: SvdEncoder, tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    import hashlib  # noqa: PLC0415 - here alone

    write_encoder(encoder, tmp_path / "one")
    change(MANIFEST, old, new)(tmp_path / "one")
    digest = hashlib.sha256((tmp_path / "one" / MANIFEST).read_bytes()).hexdigest()
    with pytest.raises(EncoderError, match=message):
        read_encoder(tmp_path / "one", digest)


@pytest.mark.parametrize("documents", [[], [Document()], [Document("one")], [Document("one"), Document("one two")]])
def test_the_smallest_corpora_have_encoders(documents: list[Document]) -> None:
    encoder = fit_svd(documents, dimension=8)
    assert encoder.encode_documents(documents).shape == (len(documents), 8)
    assert np.isfinite(encoder.encode(["one", ""])).all()
    assert 0 <= encoder.explained(documents) <= 1 + 1e-6


def test_texts_of_another_kind_are_explained_less(encoder: SvdEncoder) -> None:
    other = [Document(f"lorem{n} ipsum{n}", text=f"dolor{n} sit{n} dragon") for n in range(50)]
    assert encoder.explained(other) < 0.5 * float(encoder.facts["explained"])


def test_encoding_needs_neither_scikit_learn_nor_onnxruntime() -> None:
    code = (
        "import sys, features.text.files, features.text.search; "
        "sys.exit(any(name in sys.modules for name in ('sklearn', 'onnxruntime', 'tokenizers', 'onnx')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
