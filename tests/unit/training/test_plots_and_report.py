"""Pictures are pictures, and the report holds everything in itself, escaped."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.support.synthetic import trained
from training import curves
from training.backtest_sections import lists_section, tuning_section
from training.bundle.sources import BY_NO_ITEM, SOURCES
from training.config import TrainingConfig
from training.curves import (
    legend_below,
    plot_by_history_length,
    plot_estimates,
    plot_newcomers,
    plot_reliability,
    plot_source_recall,
    plot_trials,
    plot_windows,
)
from training.evaluate import evaluate
from training.evaluation.examples import Example, Shown, examples
from training.evaluation.judged import Judged
from training.evaluation.methods import title_of
from training.evaluation.newcomers import Stage
from training.evaluation.reliability import Tenth
from training.evaluation.resampling import UNKNOWN
from training.evaluation.segments import Segment
from training.evaluation.source_recall import BUDGETS, SourceRecall
from training.list_ranking import RankedLists
from training.metrics import Estimate
from training.plots import MetricRow, plot_importance, plot_metrics, plot_popularity
from training.report import Grid, Picture, Report, Section, in_words, render, write_report
from training.tuning.trials import Trial
from training.tuning.tune import Tuned
from training.tuning.verdict import Verdict

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
        plot_importance({"b": 3.0, "a": 1.0}),
        plot_popularity(counts, counts[::-1]),
    ]
    assert all(picture.startswith(PNG) for picture in pictures)


def test_each_curve_is_a_png() -> None:
    estimate = Estimate(0.2, 0.1, 0.3)
    found = {"marquee": {"ndcg@10": estimate}, "popularity": {"ndcg@10": estimate}}
    sources = {"als": SourceRecall(50, dict.fromkeys(BUDGETS, estimate), estimate)}
    unknown = {name: {"ndcg@10": UNKNOWN} for name in found}
    pictures = [
        plot_source_recall(sources),
        plot_by_history_length([Segment("1-2", 3, found)], list(found)),
        plot_newcomers([Stage(1, 9, found, 4, found), Stage(2, 5, unknown, 0, {})]),
        plot_reliability([Tenth(0.1, 10, estimate), Tenth(0.3, 10, estimate)]),
        plot_windows(["a", "b"], [found, found], list(found)),
        plot_estimates({"now": estimate, "shown": UNKNOWN}, "NDCG@10", "now"),
        plot_trials({"als": np.array([0.1, 0.2]), "ranker": np.array([0.3])}),
        plot_trials({}),
    ]
    assert all(picture.startswith(PNG) for picture in pictures)


def test_new_users_share_a_scale_that_fits_also_where_one_panel_has_no_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(curves, "figure_png", drawn.append)
    some, none = ({"marquee": {"ndcg@10": Estimate(mean, 0.0, 2 * mean)}} for mean in (0.1, 0.0))
    plot_newcomers([Stage(1, 9, some, 4, none), Stage(2, 9, none, 4, none)])
    plot_newcomers([Stage(1, 9, none, 4, none)])
    tops = [[panel.get_ylim()[1] for panel in figure.axes] for figure in drawn]
    assert tops[0] == pytest.approx([0.216, 0.216])
    assert tops[1] == pytest.approx([1.08, 1.08])


def test_names_of_lines_cover_nothing_that_is_drawn() -> None:
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    both = figure.subplots(1, 2)
    for panel in both:
        for number in range(6):
            panel.plot([0, 1], [number, 1], label=f"recent popularity ({number} days)")
    legend_below(figure, both[0])
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 6
    assert not any(legend.get_window_extent().overlaps(panel.get_tightbbox()) for panel in both)


def test_an_example_shows_titles_reasons_and_hits() -> None:
    places = [Shown("Heat", "ALS", "Alien", hit=True), Shown("Up", "popularity", None, hit=False)]
    example = Example("u<1>", 9, ["Alien"], places, 3, ["Big"])
    page = render(report(examples=[example]))
    assert "User u&lt;1&gt;: 1 of the first 2 liked later" in page
    assert '<li class="hit">Heat <b>liked</b><small>ALS, because of Alien</small></li>' in page
    assert "and 8 more" in page


def test_what_is_popular_with_all_is_because_of_nothing() -> None:
    interactions, parts = trained()
    users, items = np.array([0, 1], np.int32), np.arange(10, dtype=np.int32)
    judged = Judged(interactions, users, np.full(2, interactions.at_us[-1] + 1), [items[:1], items[1:2]])
    found = evaluate(parts.recommender(), judged, seed=0)
    names = list(SOURCES)
    everywhere = replace(found, because=np.zeros_like(found.because))
    for number, source in enumerate(names):
        told = examples(replace(everywhere, source=np.full_like(found.source, number)), parts.items, {}, names)
        assert {place.source for one in told for place in one.places} == {title_of(source)}
        causes = {place.because for one in told for place in one.places}
        assert causes == ({None} if source in BY_NO_ITEM else {parts.items.external(items[:1])[0]})


def test_lists_are_told_by_order_with_what_they_were_compared_with() -> None:
    ndcg = {"ranked": np.array([0.5, 1.0]), "shown": np.array([0.25, 0.75]), "item_ctr": np.array([])}
    ranked = RankedLists(np.arange(3), [np.zeros(2)] * 3, "ranker", {"ranker": 0.6, "shown": 0.4, "ease": 0.1}, ndcg)
    section = lists_section(ranked)
    assert section.words[0].startswith("3 logged lists after the cut, ordered by: ranker.")
    names, values = zip(*section.grids[0].rows, strict=True)
    assert names == ("as ranked now", "as shown", "by click rate alone")
    assert values[0].startswith("0.7500 [")
    assert section.grids[1].rows == [["ranker", "0.6000"], ["as shown", "0.4000"], ["EASE", "0.1000"]]


def test_a_search_is_told_with_its_best_trials_and_its_verdict() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    trials = tuple(
        Trial(stage, number, {}, score, at, at)
        for stage, scores in (("als", (0.1, 0.3, 0.2)), ("ranker", (0.5,)))
        for number, score in enumerate(scores)
    )
    verdict = Verdict(users=90, default=0.1, tuned=0.2, sure=0.5)
    section = tuning_section(Tuned(TrainingConfig(), {}, {"als.factors": 32}, verdict, trials, reproducible=False))
    assert section.words[0].startswith("Tuned settings not taken: NDCG@10 0.2000 against 0.1000 by default")
    assert section.words[1].startswith("Time was limited")
    assert section.grids[0].rows == [["als", "3", "0.1000", "0.3000", "1"], ["ranker", "1", "0.5000", "0.5000", "0"]]
    assert section.grids[1].rows == [["als.factors", "32"]]
    assert "Search of settings" in render(report(sections=[section]))


def test_plots_take_what_a_hapless_run_has() -> None:
    zero = np.zeros(3, dtype=np.int64)
    assert plot_popularity(zero, zero).startswith(PNG)
    assert plot_importance({"a": 0.0}).startswith(PNG)
    assert plot_metrics([MetricRow("marquee", "ndcg@10", 0.0, 0.0, 0.0)], "marquee").startswith(PNG)


def test_every_text_of_the_report_is_escaped() -> None:
    page = render(report(notes=["<script>alert(1)</script>"]))
    assert "run &lt;1&gt;" in page
    assert "12 &amp; more" in page
    assert "<script>" not in page


def test_the_report_needs_nothing_around_it(tmp_path: Path) -> None:
    section = Section(
        "bars", "Metrics", ["Words & numbers"], [Picture("metrics", "Bars", PNG)], [Grid(["a"], [["<b>"]])]
    )
    page = write_report(report(sections=[section]), tmp_path).read_text(encoding="utf-8")
    assert "Words &amp; numbers" in page
    assert "&lt;b&gt;" in page
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page
    assert (tmp_path / "metrics.png").read_bytes() == PNG


def test_what_stands_in_backticks_is_code_and_escaped() -> None:
    page = render(report(sections=[Section("a", "A", ["3 times `text_<taste>`, & `offers`."])]))
    assert "<p>3 times <code>text_&lt;taste&gt;</code>, &amp; <code>offers</code>.</p>" in page


def test_cells_of_tables_show_intervals_apart_and_say_what_is_unknown() -> None:
    rows = [["EASE", in_words(Estimate(0.2, 0.1, 0.3), ".1f")], ["ALS", in_words(UNKNOWN)]]
    page = render(report(sections=[Section("a", "A", grids=[Grid(["method", "NDCG@10"], rows, "EASE")])]))
    row = '<tr class="ours"><th scope="row">EASE</th><td class="number">0.2 <small>[0.1, 0.3]</small></td></tr>'
    assert row in page
    assert '<tr><th scope="row">ALS</th><td class="number">unknown</td></tr>' in page


def test_the_report_shows_each_number_with_its_interval() -> None:
    page = render(report())
    assert "0.2000 <small>[0.1800, 0.2200]</small>" in page
    assert '<tr class="ours"><th scope="row">marquee</th>' in page
