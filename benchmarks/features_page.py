"""The catalogue of the ranker's features, `FEATURES.md`: written from the spec and from the recorded figures."""

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
ranker was served there.
"""


def page() -> str:
    """Return the page as Markdown."""
    content = read("quality")
    figures: dict[str, Any] = content["figures"] if content is not None else {}
    heads = ["feature", "meaning", "unit or range", "from", *figures]
    rows = [
        [f"`{feature.name}`", feature.meaning, feature.unit, feature.origin]
        + [_share(found.get("importance", {}).get(feature.name)) for found in figures.values()]
        for feature in SPEC.features
    ]
    lines = [_line(heads), "|" + "---|" * 4 + "---:|" * len(figures), *(_line(row) for row in rows)]
    return "\n".join([_INTRODUCTION, *lines]) + "\n"


def write_page() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
