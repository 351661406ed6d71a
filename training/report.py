"""One page about a training run that needs nothing around it: pictures and styles are inside the file."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from training.plots import MetricRow, metric_title

_TEMPLATE = Path(__file__).parent / "templates" / "report.html"


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
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def render(report: Report) -> str:
    """Return the page as HTML; every text in it is escaped."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    metrics = list(dict.fromkeys(row.metric for row in report.metrics))
    models = list(dict.fromkeys(row.model for row in report.metrics))
    cells = {(row.model, row.metric): row for row in report.metrics}
    return template.render(report=report, metrics=metrics, models=models, cells=cells, title=metric_title)


def write_report(report: Report, folder: Path) -> Path:
    """Write the page and its pictures as files of their own, and return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in report.pictures:
        (folder / f"{picture.name}.png").write_bytes(picture.png)
    page = folder / "report.html"
    page.write_text(render(report), encoding="utf-8")
    return page
