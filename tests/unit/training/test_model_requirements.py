"""The MLflow model names every library that its copied code imports."""

import ast
import json
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.support.processes import uncounted
from training.code_version import ROOT
from training.publish import _REQUIREMENTS, MODEL_CODE

LOADED = """
import json, runpy, sys
runpy.run_path(sys.argv[1], run_name="model_code")
ours = [m.__file__ for n, m in sys.modules.items() if n.split(".")[0] in ("features", "training") and m.__file__]
print(json.dumps(ours))
"""


def imported(file: Path) -> set[str]:
    """Return the top-level packages that a file imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[0] for name in names}


def test_every_library_that_the_model_imports_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(MODEL_CODE)],
        cwd=ROOT,
        env=uncounted(),
        capture_output=True,
        text=True,
        check=True,
    )
    files = [MODEL_CODE, *(Path(name) for name in json.loads(done.stdout.splitlines()[-1]))]
    libraries = set().union(*(imported(file) for file in files)) - set(sys.stdlib_module_names)
    libraries -= {"features", "training"}
    assert {"numba", "faiss", "lightgbm"} <= libraries
    known = packages_distributions()
    unnamed = {name for name in libraries if not set(known[name]) & {*_REQUIREMENTS}}
    assert not unnamed
