"""The catalogue of the ranker's features, `FEATURES.md`: written from the spec and from the recorded figures."""

import textwrap
from typing import Any, Final

from benchmarks.record import ROOT, read
from training.bundle.offered import SPEC

PAGE: Final = ROOT / "FEATURES.md"

_INTRODUCTION: Final = """# Features of the ranker

One row for each column that the ranker reads, in its order; NaN means unknown everywhere. All are point in time: built
from what was known before the moment of the request, by the same code in training and in serving
(`features/vectorize.py`). The page is written by `python -m benchmarks.readme`.

The last columns say how much of all movement of the ranker's scores a feature makes on each data set of the quality
benchmark: its share of the mean absolute SHAP values over sampled candidates. An empty cell: not measured yet, or no
ranker was served there. A dash: no part in any score, be it that candidates do not differ in it (these sets hold no
dislikes, online-retail no categories and no years, the others no prices; what a user had is not offered again, nor what
nobody had) or that no tree asks for it. The results do not tell which.
"""
_ABSENT: Final = "Without any part in these runs: {}."
_WIDTH: Final = 120
_IN_WORDS: Final = {"-..": "any number", "0..": "0 or more"}
"""Of units, which stand in the digest of the spec as they are: changed there, each bundle's would be another."""

_LEAST: Final = 0.0005
"""Smaller shares would be written as 0.0%."""


def page() -> str:
    """Return the page as Markdown."""
    content = read("quality")
    figures: dict[str, Any] = content["figures"] if content is not None else {}
    heads = ["feature", "meaning", "unit or range", "from", *figures]
    rows = [
        [f"`{feature.name}`", feature.meaning, _IN_WORDS.get(feature.unit, feature.unit), feature.origin]
        + [_share(found.get("importance", {}).get(feature.name)) for found in figures.values()]
        for feature in SPEC.features
    ]
    lines = [_line(heads), "|" + "---|" * 4 + "---:|" * len(figures), *(_line(row) for row in rows)]
    return "\n".join([_INTRODUCTION, *_absent(figures), *lines]) + "\n"


def write_page() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def _absent(figures: dict[str, Any]) -> list[str]:
    """Return the line that names the columns without a part in any run, if there are some."""
    found = [entry["importance"] for entry in figures.values() if entry.get("importance")]
    names = [name for name in SPEC.names if found and all(entry.get(name) == 0 for entry in found)]
    said = _ABSENT.format(", ".join(f"`{name}`" for name in names))
    return [textwrap.fill(said, _WIDTH, break_on_hyphens=False) + "\n"] if names else []


def _share(value: float | None) -> str:
    """Return a share as a cell shows it.

    >>> [_share(value) for value in (None, 0.0, 0.0002, 0.012)]
    ['', '-', '<0.1%', '1.2%']
    """
    if value is None:
        return ""
    if value == 0:
        return "-"
    return "<0.1%" if value < _LEAST else f"{value:.1%}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
