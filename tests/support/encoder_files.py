"""An encoder as the files that `read_encoder` opens; the project itself keeps encoders in Postgres."""

import shutil
from pathlib import Path

from features.text.encoder import Encoder
from features.text.manifest import MANIFEST, sealed


def write_encoder(encoder: Encoder, folder: Path) -> str:
    """Write an encoder into a new folder and return its digest."""
    folder.mkdir(parents=True)
    raw, digest = sealed(encoder)
    for name, content in encoder.files().items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            shutil.copyfile(content, folder / name)
    (folder / MANIFEST).write_bytes(raw)
    return digest
