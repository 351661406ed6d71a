"""The locks: one resolution, exact, and free of any registry's address."""

import re
import tomllib
from pathlib import Path

import pytest

from ops.setup.packages import LOCKS

ROOT = Path(__file__).resolve().parents[3]
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)(?: ; (.*?))? \\$", re.MULTILINE)


def pins(name: str) -> set[tuple[str, str]]:
    """Return (package, version) of every pin of a lock."""
    return {(found[0], found[1]) for found in PIN.findall((ROOT / name).read_text(encoding="utf-8"))}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_pins_with_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index-url" not in text
    assert "@ " not in text
    heads = [line for line in text.splitlines() if line and not line.startswith(("    --hash=sha256:", "#"))]
    assert len(heads) == len(PIN.findall(text))
    assert text.count("--hash=sha256:") >= len(heads)


@pytest.mark.parametrize("name", ["requirements-serving.lock", "requirements-batch.lock"])
def test_an_image_installs_a_subset_of_what_is_tested(name: str) -> None:
    assert pins(name) < pins("requirements.lock")


def test_minilm_adds_to_what_is_tested_and_changes_nothing_there() -> None:
    tested = pins("requirements.lock")
    added = {name for name, _ in pins("requirements-minilm.lock") - tested}
    assert {"onnx", "onnxruntime", "tokenizers"} <= added
    assert not added & {name for name, _ in tested}


def test_every_package_that_pyproject_names_is_pinned_exactly_there_and_in_the_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    named = [*project["project"]["dependencies"], *groups["batch"], *groups["local"], *groups["dev"]]
    locked = pins("requirements.lock")
    for requirement in named:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;]+)(?: ; .*)?", requirement)
        assert match, requirement
        assert (match[1].lower(), match[2]) in locked, requirement
