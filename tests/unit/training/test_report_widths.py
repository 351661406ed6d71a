"""No table of a report ends behind a scroll bar on a screen 1,200 px wide, or is cut off on A4 paper."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from ops.screenshots import FLAGS
from training.evaluation.examples import Example, Shown
from training.evaluation.methods import TITLES
from training.report import Beside, Grid, Ranked, Report, Section, Tile, write_report

CHROMIUM = shutil.which("chromium")
A4_PX = 718
"""Of A4 paper between Chromium's margins."""
ESTIMATE = "0.1234 [0.1023, 0.1456]"
POPULAR = ("popularity", *(f"recent popularity ({span})" for span in ("1 day", "14 days", "60 days")))
COLD = ("marquee", "text map to factors", "promised popularity", "nearest texts", "newest", "at random")
GRIDS = {
    "sources": Grid(
        ["source", "budget", *(f"first {budget}" for budget in (10, 20, 30, 50, 100, 200)), "only from it"],
        [[title, "150", *["0.123"] * 6, ESTIMATE] for title in TITLES.values()],
    ),
    "newcomers": Grid(["NDCG@10 after", "users", "marquee", *POPULAR], [["10 events", "2,000", *[ESTIMATE] * 5]]),
    "new-items": Grid(["NDCG@10, events read", *COLD], [["all", *[ESTIMATE] * 6]]),
    "tail": Grid(
        ["NDCG@10 where only these labels count", "users", "marquee", *POPULAR[:3]],
        [["head: 1.7% of the items, half of the interactions", "2,000", *[ESTIMATE] * 4]],
    ),
}


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
@pytest.mark.parametrize(("media", "width"), [("screen", 1200), ("print", A4_PX)])
def test_all_columns_of_the_widest_tables_are_visible(tmp_path: Path, media: Any, width: int) -> None:
    sections = [Section(name, name, grids=[grid]) for name, grid in GRIDS.items()]
    page_file = write_report(Report("run", {}, [], "marquee", sections), tmp_path)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS))
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.emulate_media(media=media)
        page.goto(page_file.as_uri())
        hidden = page.eval_on_selector_all(
            ".wide", "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.closest('section').id)"
        )
        heights = page.eval_on_selector_all("#sources tbody tr", "rows => rows.map(row => row.offsetHeight)")
        browser.close()
    assert hidden == []
    assert media == "print" or len(set(heights)) == 1, "a source's name stands on one line"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
def test_a_long_title_without_a_blank_widens_no_page(tmp_path: Path) -> None:
    title = "A" * 400
    beside = Beside(title, [Ranked(name, [(title, "", True)]) for name in ("Latest items", "version 1", "version 2")])
    example = Example(title, 1, [title], [Shown(title, "ALS", title, hit=True)], 1, [title])
    report = Report("run", {}, [], "marquee", [Section("users", "users", beside=[beside])], examples=[example])
    page_file = write_report(report, tmp_path)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(page_file.as_uri())
        width = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert width == 1200


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
def test_the_longest_verdict_stays_inside_its_tile(tmp_path: Path) -> None:
    tiles = [Tile("NDCG@10: version 2 is", "not distinguishable", ESTIMATE) for _ in range(5)]
    page_file = write_report(Report("run", {}, [], "marquee", tiles=tiles), tmp_path)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(page_file.as_uri())
        beyond = page.eval_on_selector_all(".tile", "all => all.map(tile => tile.scrollWidth - tile.clientWidth)")
        browser.close()
    assert beyond == [0] * 5
