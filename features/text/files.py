"""An encoder as files: arrays, and a manifest whose SHA-256 is its digest; one flipped bit and it is refused."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from features.text import minilm, svd
from features.text.encoder import Encoder, EncoderError
from features.text.manifest import MANIFEST, EncoderManifest, manifest_of, stored_part

_READERS: Final[Mapping[str, Callable[[Path, Mapping[str, int | float | str]], Encoder]]] = {
    svd.KIND: svd.read,
    minilm.KIND: minilm.read,
}


def read_encoder(folder: Path, expected_digest: str) -> Encoder:
    """Return the encoder of a folder, every byte verified before it is parsed.

    Raises
    ------
    EncoderError
        Where anything is not what the digest says.
    """
    manifest = verified(folder, expected_digest)
    if manifest.kind not in _READERS:
        raise EncoderError(
            f"encoder {folder}: kind {manifest.kind!r} is none of {sorted(_READERS)}; it was made by other code."
        )
    return _READERS[manifest.kind](folder, manifest.facts)


def verified(folder: Path, expected_digest: str) -> EncoderManifest:
    """Return the manifest of an encoder's folder whose files are all as it says."""
    try:
        raw = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise EncoderError(f"encoder {folder}: no {MANIFEST} to read ({error.strerror}); fetch it again.") from error
    if (found := hashlib.sha256(raw).hexdigest()) != expected_digest:
        raise EncoderError(f"encoder {folder}: digest is {found}, expected {expected_digest}; fetch it again.")
    manifest = manifest_of(raw, folder)
    for name, stored in manifest.files.items():
        path = folder / name
        if not path.is_file() or (is_now := stored_part(path)) != stored:
            now = "missing" if not path.is_file() else f"{is_now.size} bytes, {is_now.sha256[:12]}"
            raise EncoderError(
                f"encoder {folder}: {name} is {now}, expected {stored.size} bytes, {stored.sha256[:12]}; "
                "fetch it again."
            )
    return manifest
