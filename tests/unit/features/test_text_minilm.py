"""MiniLM: its graph computes what its weights mean; what is missing is named. Most needs `make minilm`."""

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import erf

from features.text import minilm_graph
from features.text.documents import Document
from features.text.encoder import EncoderError, query_of
from features.text.files import read_encoder
from features.text.minilm import MAX_TOKENS, MODEL, TOKENIZER, MiniLmEncoder, fit_minilm
from features.text.minilm_graph import CONFIG, WEIGHTS, build, read_weights
from features.text.search import TextIndex
from ops.setup.minilm import model_folder
from tests.support.encoder_files import write_encoder
from tests.support.minilm import needs_minilm, needs_packages

HIDDEN, HEADS, LAYERS, INNER = 8, 2, 2, 12
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "dragon", "castle", "stock", "market"]
BOOKS = [Document("dragon castle"), Document("stock market"), Document("dragon", text="stock")]

BY_SENTENCE_TRANSFORMERS = {
    "A boy wizard learns magic at a hidden school": [
        -0.0456,
        0.0683,
        -0.0723,
        -0.0089,
        -0.0060,
        0.0066,
        0.0478,
        -0.0458,
    ],
    "Hay otros mundos, pero están en éste.": [
        -0.0392,
        0.1106,
        0.0459,
        -0.0380,
        -0.0162,
        -0.0303,
        0.0532,
        0.0104,
    ],
    "The Great Gatsby": [-0.1066, 0.0159, -0.0188, -0.0426, 0.0257, -0.0164, 0.0905, 0.0221],
    "stock market " * 300: [0.0418, -0.1056, 0.0171, -0.0283, -0.0067, 0.0186, 0.0338, -0.0186],
}
"""The first eight numbers of vectors by sentence-transformers 6.2.0 on torch 2.15.0, from the published safetensors."""


def made_up_weights() -> dict[str, npt.NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), HIDDEN),
        "embeddings.position_embeddings.weight": (MAX_TOKENS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
        **dict.fromkeys(("embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias"), (HIDDEN,)),
    }
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        linear = {f"attention.self.{name}": (HIDDEN, HIDDEN) for name in ("query", "key", "value")}
        linear |= {"attention.output.dense": (HIDDEN, HIDDEN), "intermediate.dense": (INNER, HIDDEN)}
        linear |= {"output.dense": (HIDDEN, INNER)}
        for name, shape in linear.items():
            shapes |= {f"{prefix}{name}.weight": shape, f"{prefix}{name}.bias": shape[:1]}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{prefix}{name}.weight": (HIDDEN,), f"{prefix}{name}.bias": (HIDDEN,)}
    return {name: rng.normal(scale=0.7, size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_weights(path: Path, weights: dict[str, npt.NDArray[np.float32]]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, array in weights.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + b"".join(array.tobytes() for array in weights.values()))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder as models are published, tiny and of random weights."""
    folder = tmp_path / "published"
    folder.mkdir()
    write_weights(folder / WEIGHTS, made_up_weights())
    config = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "layer_norm_eps": 1e-12}
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(VOCABULARY)},
            "unk_token": "[UNK]",
        },
    }
    (folder / TOKENIZER).write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder


@pytest.fixture
def encoder(published: Path, tmp_path: Path) -> MiniLmEncoder:
    build(published, tmp_path / "built")
    return fit_minilm(tmp_path / "built", BOOKS)


def reference(text: str) -> npt.NDArray[np.float64]:
    """Return a text's vector by BERT's formulas, in float64 (Devlin et al. 2019)."""
    weights = made_up_weights()
    words = ["[CLS]", *text.lower().split()[: MAX_TOKENS - 2], "[SEP]"]
    ids = [VOCABULARY.index(word) if word in VOCABULARY else 1 for word in words]

    def normed(state: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
        centred = state - state.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return np.asarray(scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"])

    def linear(state: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
        return np.asarray(state @ weights[f"{name}.weight"].T.astype(np.float64) + weights[f"{name}.bias"])

    embeddings = {name: weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")}
    standing = embeddings["position"][: len(ids)] + embeddings["token_type"][0].astype(np.float64)
    state = normed(embeddings["word"][ids] + standing, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        query, key, value = (
            linear(state, f"{prefix}attention.self.{name}").reshape(len(ids), HEADS, -1).transpose(1, 0, 2)
            for name in ("query", "key", "value")
        )
        scores = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(HIDDEN / HEADS))
        mixed = (scores / scores.sum(-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(len(ids), HIDDEN)
        state = normed(state + linear(mixed, f"{prefix}attention.output.dense"), f"{prefix}attention.output.LayerNorm")
        inner = linear(state, f"{prefix}intermediate.dense")
        inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
        state = normed(state + linear(inner, f"{prefix}output.dense"), f"{prefix}output.LayerNorm")
    mean: npt.NDArray[np.float64] = state.mean(0)
    return mean / np.linalg.norm(mean)


@needs_packages
@pytest.mark.parametrize("text", ["dragon", "Dragon castle zebra", "stock market " * 300])
def test_the_graph_computes_what_the_weights_mean(encoder: MiniLmEncoder, text: str) -> None:
    np.testing.assert_allclose(encoder.encode([text])[0], reference(text), atol=1e-5)


@needs_packages
def test_files_give_the_same_encoder(encoder: MiniLmEncoder, tmp_path: Path) -> None:
    digest = write_encoder(encoder, tmp_path / "kept")
    read = read_encoder(tmp_path / "kept", digest)
    assert (read.kind, read.dimension, read.digest) == ("minilm", HIDDEN, digest)
    np.testing.assert_array_equal(read.encode_documents(BOOKS), encoder.encode_documents(BOOKS))


@needs_packages
def test_search_by_it(encoder: MiniLmEncoder) -> None:
    seen = encoder.embed(BOOKS)
    index = TextIndex.build(seen.vectors, seen.terms)
    assert index.search(query_of(encoder, "castel"), 3)[0][0] == 0


@needs_minilm
@pytest.mark.parametrize("text", BY_SENTENCE_TRANSFORMERS)
def test_the_published_model_gives_the_published_vectors(text: str) -> None:
    vector = fit_minilm(model_folder(), BOOKS).encode([text])[0]
    assert vector.shape == (384,)
    assert abs(float(np.linalg.norm(vector)) - 1) < 1e-6
    np.testing.assert_allclose(vector[:8], BY_SENTENCE_TRANSFORMERS[text], atol=6e-5)


@needs_minilm
def test_it_finds_by_meaning_what_shares_no_word(tmp_path: Path) -> None:
    books = [Document("A young wizard at school"), Document("Investing for retirement"), Document("Bread at home")]
    encoder = fit_minilm(model_folder(), books)
    read = read_encoder(tmp_path / "kept", write_encoder(encoder, tmp_path / "kept"))
    seen = read.embed(books)
    index = TextIndex.build(seen.vectors, seen.terms)
    found = [int(index.search(query_of(read, text), 1)[0][0]) for text in ("magic", "stocks and pensions", "baking")]
    assert found == [0, 1, 2]


@needs_packages
def test_a_folder_as_models_are_published_will_do(published: Path, encoder: MiniLmEncoder) -> None:
    build(published, published / "onnx")
    again = fit_minilm(published, BOOKS)
    assert again.digest == encoder.digest


@needs_packages
@pytest.mark.parametrize("text", ["", "\ud800", "\U0001f600", " \n"])
def test_nothing_is_zero(encoder: MiniLmEncoder, text: str) -> None:
    assert not encoder.encode([text]).any()


@needs_packages
@pytest.mark.parametrize("text", ["dragon\ud800", "a\x00b", "x" * 100_000, "word " * 100_000, "e" + "\u0301" * 10_000])
def test_poison_encodes(encoder: MiniLmEncoder, text: str) -> None:
    assert abs(float(np.linalg.norm(encoder.encode([text])[0])) - 1) < 1e-5


def test_weights_read_back(published: Path) -> None:
    read = read_weights(published / WEIGHTS)
    assert set(read) == set(made_up_weights())
    for name, array in made_up_weights().items():
        np.testing.assert_array_equal(read[name], array)


def test_what_is_missing_is_named(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert minilm_graph.main([]) == 2
    assert "FROM TO" in capsys.readouterr().err
    (published / CONFIG).unlink()
    assert minilm_graph.main([str(published), str(tmp_path / "to")]) == 2
    assert "config.json is missing" in capsys.readouterr().err


def test_a_folder_without_a_model_is_named(published: Path) -> None:
    with pytest.raises(EncoderError, match=r"published has no model\.onnx; name the folder that `make minilm` says"):
        fit_minilm(published, BOOKS)


@needs_packages
@pytest.mark.parametrize("damaged", [MODEL, TOKENIZER])
def test_a_damaged_file_is_named(published: Path, tmp_path: Path, damaged: str) -> None:
    build(published, tmp_path / "built")
    whole = (tmp_path / "built" / damaged).read_bytes()
    (tmp_path / "built" / damaged).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EncoderError, match=rf"{damaged} cannot be used here: .*; `make minilm` fetches one"):
        fit_minilm(tmp_path / "built", BOOKS)


@needs_packages
def test_a_model_of_something_else_than_texts_is_named(published: Path, tmp_path: Path) -> None:
    build(published, tmp_path / "built")
    graph = (tmp_path / "built" / MODEL).read_bytes()
    (tmp_path / "built" / MODEL).write_bytes(graph.replace(b"input_ids", b"image_pix"))
    with pytest.raises(EncoderError, match=rf"{MODEL} cannot be used here: .*image_pix"):
        fit_minilm(tmp_path / "built", BOOKS)


def test_without_the_packages_it_says_what_to_install(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (published / MODEL).write_bytes(b"")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(EncoderError, match="package tokenizers is not installed; `make minilm`"):
        fit_minilm(published, BOOKS)
