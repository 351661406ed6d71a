"""The manifest of an encoder's files: size and SHA-256 of each; its own SHA-256 is the encoder's digest."""

import hashlib
import io
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from features.contracts.hashes import sha256_of
from features.text.encoder import Encoder, EncoderError

FORMAT_VERSION: Final = 1
"""Raised when terms or files change their meaning; other versions are refused."""
MANIFEST: Final = "manifest.json"


class StoredPart(msgspec.Struct, frozen=True):
    """Size in bytes and SHA-256 of one file."""

    size: int
    sha256: str


class EncoderManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of ``manifest.json``; its SHA-256 is the encoder's digest."""

    format_version: int
    kind: str
    dimension: int
    facts: dict[str, int | float | str]
    files: dict[str, StoredPart]


def npy(array: npt.NDArray[Any]) -> bytes:
    """Return an array as the bytes of an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def sealed(encoder: Encoder) -> tuple[bytes, str]:
    """Return the manifest of an encoder and its digest."""
    files = {name: stored_part(content) for name, content in sorted(encoder.files().items())}
    facts = dict(encoder.facts)
    raw = msgspec.json.encode(EncoderManifest(FORMAT_VERSION, encoder.kind, encoder.dimension, facts, files))
    return raw, hashlib.sha256(raw).hexdigest()


def manifest_of(raw: bytes, folder: Path) -> EncoderManifest:
    """Return a manifest from its bytes; `folder` is for what is said where they are none."""
    try:
        manifest = msgspec.json.decode(raw, type=EncoderManifest)
    except msgspec.MsgspecError as error:
        raise EncoderError(f"encoder {folder}: {MANIFEST} cannot be read: {error}; fetch it again.") from error
    if manifest.format_version != FORMAT_VERSION:
        raise EncoderError(
            f"encoder {folder}: format {manifest.format_version}, this code reads {FORMAT_VERSION}; fit a new encoder."
        )
    return manifest


def stored_part(content: bytes | Path) -> StoredPart:
    """Return size and SHA-256 of a file's content, or of a file."""
    if isinstance(content, bytes):
        return StoredPart(len(content), hashlib.sha256(content).hexdigest())
    return StoredPart(content.stat().st_size, sha256_of(content))
