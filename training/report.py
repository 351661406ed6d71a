"""One page about a training run or a backtest that needs nothing around it: pictures and styles are inside the file."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import jinja2

from training.evaluation.examples import Example
from training.metrics import Estimate
from training.plots import MetricRow, metric_title

REPORT: Final = "report.html"
_TEMPLATES: Final = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with the sentence that says what to see in it."""

    name: str
    caption: str
    png: bytes

    @property
    def data_uri(self) -> str:
        """Return the picture as text that a page can embed."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text: heads of the columns, and rows whose first cell names them; those named `ours` stand out."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    ours: str | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """A list to be read beside others: its head, and titles best first with a remark and whether to mark them."""

    head: str
    places: Sequence[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True)
class Beside:
    """Lists side by side under one title."""

    title: str
    lists: Sequence[Ranked]


@dataclass(frozen=True, slots=True)
class Section:
    """One question and its answer: words (what stands in backticks is code), pictures, tables, lists side by side."""

    name: str
    title: str
    words: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    grids: Sequence[Grid] = ()
    beside: Sequence[Beside] = ()


@dataclass(frozen=True, slots=True)
class Tile:
    """One number to see first, with what it is and what it means."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the page shows, in its order.

    Attributes
    ----------
    title
        Names the model and the run.
    facts
        Label and text: data range, counts, parameters, versions.
    ours
        Model name of the pipeline itself in `metrics`; the rest are baselines.
    notes
        Sentences a reader has to know, such as a widened window.
    """

    title: str
    facts: Mapping[str, str]
    metrics: Sequence[MetricRow]
    ours: str
    sections: Sequence[Section] = ()
    notes: Sequence[str] = field(default_factory=tuple)
    tiles: Sequence[Tile] = ()
    examples: Sequence[Example] = ()


def render(report: Report) -> str:
    """Return the page as HTML; every text in it is escaped."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(_TEMPLATES),
    )
    metrics = list(dict.fromkeys(row.metric for row in report.metrics))
    models = list(dict.fromkeys(row.model for row in report.metrics))
    cells = {(row.model, row.metric): row for row in report.metrics}
    template = environment.get_template("report.html")
    return template.render(report=report, metrics=metrics, models=models, cells=cells, title=metric_title)


def write_report(report: Report, folder: Path) -> Path:
    """Write the page and its pictures as files of their own, and return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in (picture for section in report.sections for picture in section.pictures):
        (folder / f"{picture.name}.png").write_bytes(picture.png)
    page = folder / REPORT
    page.write_text(render(report), encoding="utf-8")
    return page


def in_words(estimate: Estimate, form: str = ".4f") -> str:
    """Return an estimate with its interval, as a table's cell shows it; `unknown` where there is nothing to estimate.

    >>> in_words(Estimate(0.25, 0.2, 0.3), ".2f")
    '0.25 [0.20, 0.30]'
    """
    if math.isnan(estimate.mean):
        return "unknown"
    return f"{estimate.mean:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"
