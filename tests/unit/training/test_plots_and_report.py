"""Pictures are pictures, and the report holds everything in itself, escaped."""

from pathlib import Path
from typing import Any

import numpy as np

from training.plots import MetricRow, plot_importance, plot_metrics, plot_popularity
from training.report import Picture, Report, render, write_report

PNG = b"\x89PNG\r\n"
ROWS = [
    MetricRow(model, metric, mean, mean * 0.9, mean * 1.1)
    for metric in ("ndcg@10", "recall@20", "coverage@10")
    for model, mean in (("marquee", 0.2), ("popularity", 0.1))
]


def report(**changes: Any) -> Report:
    facts = {"Data": "12 & more"}
    given: dict[str, Any] = {"title": "run <1>", "facts": facts, "metrics": ROWS, "ours": "marquee"} | changes
    return Report(**given)


def test_each_plot_is_a_png() -> None:
    counts = np.arange(50, dtype=np.int64)
    pictures = [
        plot_metrics(ROWS, "marquee"),
        plot_importance(["a", "b"], np.array([1.0, 3.0])),
        plot_popularity(counts, counts[::-1]),
    ]
    assert all(picture.startswith(PNG) for picture in pictures)


def test_plots_take_what_a_hapless_run_has() -> None:
    zero = np.zeros(3, dtype=np.int64)
    assert plot_popularity(zero, zero).startswith(PNG)
    assert plot_importance(["a"], np.zeros(1)).startswith(PNG)
    assert plot_metrics([MetricRow("marquee", "ndcg@10", 0.0, 0.0, 0.0)], "marquee").startswith(PNG)


def test_every_text_of_the_report_is_escaped() -> None:
    page = render(report(notes=["<script>alert(1)</script>"]))
    assert "run &lt;1&gt;" in page
    assert "12 &amp; more" in page
    assert "<script>" not in page


def test_the_report_needs_nothing_around_it(tmp_path: Path) -> None:
    page = write_report(report(pictures=[Picture("metrics", "Metrics", PNG)]), tmp_path).read_text(encoding="utf-8")
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page
    assert (tmp_path / "metrics.png").read_bytes() == PNG


def test_the_report_shows_each_number_with_its_interval() -> None:
    page = render(report())
    assert "0.2000 <small>[0.1800, 0.2200]</small>" in page
    assert '<tr class="ours"><th scope="row">marquee</th>' in page
