"""The encoder MiniLM: a small language model through onnxruntime, from a local folder; nothing is downloaded.

Needs the dependency group `minilm` and a folder with ``model.onnx`` (or ``onnx/model.onnx``) and ``tokenizer.json``:
as `make minilm` fetches it, as models are published, or as ``python -m features.text.minilm_graph`` builds it from a
folder with ``model.safetensors`` alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.text.documents import MAX_CHARS, Document
from features.text.encoder import Embedded, EncoderError
from features.text.lexicon import LEXICON_FILE, Blend, Lexicon, fit_lexicon, read_lexicon
from features.text.manifest import npy, sealed
from features.text.terms import Terms, terms_of

KIND: Final = "minilm"
BLEND: Final = Blend(words=0.8, vectors=0.2)
"""Chosen on questions about half of goodbooks' books: more of vectors finds less of what is misspelt."""
MODEL: Final = "model.onnx"
TOKENIZER: Final = "tokenizer.json"
MAX_TOKENS: Final = 256
"""What the model was trained to read; the rest of a text is left out."""

Singles = npt.NDArray[np.float32]


class MiniLmEncoder:
    """Sentence vectors of a language model, float32 (n, 384) for all-MiniLM-L6-v2.

    Texts go through the model one at a time, on one thread: a batch's padding would show in the last bits.

    Parameters
    ----------
    folder
        Holds `MODEL` and `TOKENIZER`. The model's inputs are input_ids, attention_mask and perhaps token_type_ids,
        int64 (n, length), its first output vectors of texts (n, dimension), or of tokens (n, length, dimension), whose
        mean is taken, as all-MiniLM-L6-v2 was trained.
    lexicon
        Of a corpus, for search by terms.
    """

    kind = KIND
    blend = BLEND

    def __init__(self, folder: Path, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._parts = {MODEL: _one_of(folder, MODEL, f"onnx/{MODEL}"), TOKENIZER: _one_of(folder, TOKENIZER)}
        self._tokenizer, self._session = _tokenizer(self._parts[TOKENIZER]), _session(self._parts[MODEL])
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        with _usable(self._parts[MODEL]):
            # What it is asked for need not be what it was made for: one text says so before all of a catalogue do.
            self.dimension = int(self._session.get_outputs()[0].shape[-1])
            self.encode(["text"])
        self.facts: Mapping[str, int | float | str] = lexicon.facts

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of its manifest."""
        return sealed(self)[1]

    def encode(self, texts: Sequence[str]) -> Singles:
        """Return float32 (n, dimension), rows of length one, or zero for texts without letters and digits."""
        out = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            out[row] = self._vector(text[:MAX_CHARS])
        return out

    def encode_query(self, text: str) -> Singles:
        """Return float32 (dimension,), of length one or zero."""
        vector: Singles = self.encode([text])[0]
        return vector

    def encode_documents(self, documents: Sequence[Document]) -> Singles:
        """Return the vectors of documents as whole texts."""
        return self.encode([document.whole for document in documents])

    def embed(self, documents: Sequence[Document]) -> Embedded:
        """Return vectors and weighed terms."""
        return Embedded(self.encode_documents(documents), self.weigh(terms_of(documents)))

    def weigh(self, terms: Terms) -> Terms:
        """Return terms with the weights that a search index keeps."""
        return self.lexicon.weigh(terms)

    def explained(self, documents: Sequence[Document]) -> float:  # noqa: ARG002 - the Protocol's
        """Return 1: the model was not fitted on a corpus that texts could drift from."""
        return 1.0

    def files(self) -> Mapping[str, bytes | Path]:
        """Return the model's files and the lexicon."""
        return {**self._parts, LEXICON_FILE: npy(self.lexicon.table)}

    def _vector(self, text: str) -> Singles | float:
        if not any(map(str.isalnum, text)):
            return 0.0
        # Lone surrogates are no text to the tokenizer.
        tokens = self._tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8"))
        ids = np.array([tokens.ids], np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        found = self._session.run(None, {name: value for name, value in given.items() if name in self._inputs})[0][0]
        if found.ndim == 2:
            found = found.mean(axis=0)  # of one text, without padding
        vector: Singles = (found / max(float(np.linalg.norm(found)), 1e-12)).astype(np.float32)
        return vector


def fit_minilm(folder: Path, documents: Sequence[Document]) -> MiniLmEncoder:
    """Return the model of a folder, with a corpus's frequencies for search by terms."""
    return MiniLmEncoder(folder, fit_lexicon(documents))


def read(folder: Path, facts: Mapping[str, int | float | str]) -> MiniLmEncoder:
    """Return an encoder from its files, verified before."""
    return MiniLmEncoder(folder, read_lexicon(folder, facts))


def _one_of(folder: Path, *names: str) -> Path:
    """Return the first of some files that a folder has."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise EncoderError(f"encoder minilm: {folder} has no {names[0]}; name the folder that `make minilm` says.")


def _tokenizer(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - optional
    except ImportError as error:
        raise _missing("tokenizers") from error
    with _usable(path):
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def _session(path: Path) -> Any:
    try:
        import onnxruntime  # noqa: PLC0415 - optional
    except ImportError as error:
        raise _missing("onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with _usable(path):
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Raise `EncoderError` for what goes wrong with a file: damaged, of another model, newer than the packages."""
    try:
        yield
    except Exception as error:  # both libraries raise any, of no common root
        raise EncoderError(
            f"encoder minilm: {path} cannot be used here: {error}. Expected is a whole file, of a model that makes "
            "vectors of texts, which the installed packages can read; `make minilm` fetches one."
        ) from error


def _missing(package: str) -> EncoderError:
    return EncoderError(f"encoder minilm: package {package} is not installed; `make minilm`, or use the encoder svd.")
