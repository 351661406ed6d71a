"""The language model MiniLM, which tests use where `make minilm` has fetched it."""

import importlib.util

import pytest

from ops.setup.minilm import model_folder, model_is_whole

_PACKAGES = ("onnx", "onnxruntime", "tokenizers")
_installed = all(importlib.util.find_spec(name) is not None for name in _PACKAGES)

needs_packages = pytest.mark.skipif(not _installed, reason="the group minilm is not installed: make minilm")
needs_minilm = pytest.mark.skipif(
    not _installed or not model_is_whole(model_folder()), reason="MiniLM is not there: make minilm"
)
