"""What the MLflow model takes along: the code that it imports, and the names of every library that this imports."""

import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from training.code_version import ROOT
from training.model_code import copy_code, imported
from training.publish import _REQUIREMENTS, MODEL_CODE, PACKAGES


def test_every_library_that_the_model_imports_is_named(tmp_path: Path) -> None:
    copy_code(MODEL_CODE, ROOT, PACKAGES, tmp_path)
    files = [MODEL_CODE, *tmp_path.rglob("*.py")]
    libraries = {name.split(".")[0] for file in files for name in imported(file)} - set(sys.stdlib_module_names)
    libraries -= set(PACKAGES)
    assert {"numba", "faiss", "lightgbm"} <= libraries
    known = packages_distributions()
    unnamed = {name for name in libraries if not set(known[name]) & {*_REQUIREMENTS}}
    assert not unnamed


@pytest.mark.parametrize(
    ("line", "also"),
    [
        ("import one.two.three", {"one/two/__init__.py", "one/two/three.py"}),
        ("from one import two", {"one/two/__init__.py"}),
        ("from one.two import three", {"one/two/__init__.py", "one/two/three.py"}),
        ("def later():\n    from one.four import something", {"one/four.py", "one/five.py"}),
        ("import json, other", set()),
    ],
)
def test_what_is_imported_on_the_way_is_copied_and_nothing_else(line: str, also: set[str], tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("one/__init__.py", "one/two/__init__.py", "one/two/three.py", "one/five.py", "one/six.py", "other.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "one" / "four.py").write_text("import one.five")
    entry = root / "entry.py"
    entry.write_text(line)

    copied = copy_code(entry, root, ("one", "absent"), tmp_path / "target")

    files = {str(file.relative_to(tmp_path / "target")) for file in (tmp_path / "target").rglob("*.py")}
    assert files == (also | {"one/__init__.py"} if also else set())
    assert copied == ([tmp_path / "target" / "one"] if also else [])
