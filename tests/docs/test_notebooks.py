"""Notebooks run from top to bottom, and lie in the repository without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.processes import uncounted

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    assert all(not cell.get("outputs") for cell in notebook.cells), f"strip the outputs: nbstripout {path.name}"
    client = NotebookClient(notebook, timeout=800, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    client.execute(env=uncounted())


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
