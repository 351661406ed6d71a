"""The language model MiniLM, which tests use where `make minilm` has fetched it."""

import pytest

from ops.setup.minilm import is_there, packages_are_there

needs_packages = pytest.mark.skipif(not packages_are_there(), reason="the group minilm is not installed: make minilm")
needs_minilm = pytest.mark.skipif(not is_there(), reason="MiniLM is not there: make minilm")
