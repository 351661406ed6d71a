"""The documents say what the code does: settings, commands, links, figures and examples."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

from benchmarks.features_page import PAGE, page
from benchmarks.readme import filled
from features.settings import Settings
from training.bundle.offered import SPEC

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "ARCHITECTURE.md", ROOT / "DECISIONS.md", PAGE]
CODE = [path for name in ("features", "training", "serving") for path in (ROOT / name).rglob("*.py")]
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in CODE
    if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings_hold(name: str) -> None:
    module = importlib.import_module(name)
    names = {"np": importlib.import_module("numpy"), **vars(module)}
    found = doctest.testmod(module, extraglobs=names)
    assert found.attempted
    assert not found.failed


def test_every_setting_is_documented() -> None:
    text = README.read_text(encoding="utf-8")
    missing = [name for name in Settings.model_fields if f"`MARQUEE_{name.upper()}`" not in text]
    assert not missing


def test_every_make_target_is_documented() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    text = README.read_text(encoding="utf-8")
    assert targets
    assert not [target for target in targets if f"`make {target}`" not in text]


def test_tables_are_those_of_the_committed_figures() -> None:
    text = README.read_text(encoding="utf-8")
    assert filled(text) == text, "run `python -m benchmarks.readme`"


def test_the_page_of_features_lists_exactly_those_of_the_spec() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(SPEC.names)
    assert text == page(), "run `python -m benchmarks.readme`"


def test_a_feature_without_a_part_has_no_share_and_each_range_is_said_in_words() -> None:
    rows = [line.split(" | ") for line in page().splitlines() if line.startswith("| `")]
    assert not [row[0] for row in rows if "0.0%" in " ".join(row).split()]
    assert {row[2] for row in rows if row[0] == "| `text_taste`"} == {"any number"}
    absent = {row[0].strip("| `") for row in rows if {cell.strip(" |") for cell in row[4:]} == {"-"}}
    said = page().split("Without any part in these runs: ")[1].split(".")[0]
    assert absent == set(re.findall(r"`(\w+)`", said))
    assert "had_count" in absent


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_and_named_files_exist(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#:]+)\)", text) if link]
    named = re.findall(
        r"`((?:features|training|serving|dags|ops|tests|benchmarks|notebooks)/[\w./-]+\.(?:py|md|ipynb|yml|sh))", text
    )
    assert not [name for name in {*links, *named} if not (ROOT / name).exists()]
