"""The modules that a model from code takes along: those of our own that it imports, and none beside."""

import ast
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path


def copy_code(entry: Path, root: Path, packages: Sequence[str], target: Path) -> list[Path]:
    """Copy what a file imports of some packages, directly or not, with their folders; return the packages' copies.

    Parameters
    ----------
    entry
        The file that is to run elsewhere; it is not copied itself.
    root
        Folder of the packages.
    target
        Folder that the copies are written to.
    """
    for file in sorted(_reached(entry, root, packages)):
        copy = target / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return [target / package for package in packages if (target / package).is_dir()]


def _reached(entry: Path, root: Path, packages: Sequence[str]) -> set[Path]:
    """Return the files of all modules that are imported on the way, in functions too, and of their packages."""
    found: set[Path] = set()
    waiting = [entry]
    while waiting:
        for name in imported(waiting.pop()):
            if name.split(".")[0] not in packages:
                continue
            new = {file for file in _files(root, name) if file not in found}
            found |= new
            waiting += new
    return found


def imported(file: Path) -> Iterator[str]:
    """Yield the full names that a file imports; of ``from a import b`` also ``a.b``, which may be a module."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(root: Path, module: str) -> Iterator[Path]:
    """Yield the file of a module, if it is one, and of the packages that hold it."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        path = root.joinpath(*parts[:depth])
        yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())
