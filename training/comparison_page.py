"""The page about two backtests."""

from collections.abc import Sequence

from training.comparing import Compared, Run
from training.evaluation.resampling import FEWEST_USERS
from training.plots import metric_title
from training.report import Grid, Report, Section, Tile, in_words, render


def comparison_page(first: Run, second: Run, compared: Sequence[Compared]) -> str:
    """Return the page as HTML."""
    rows = [
        [
            metric_title(entry.metric),
            in_words(entry.first),
            in_words(entry.second),
            in_words(entry.difference, "+.4f"),
            entry.verdict,
        ]
        for entry in compared
    ]
    words = (
        "Differences are second minus first, in pairs of the same users; the verdict is on the second run. It is not "
        "distinguishable where the 95 % interval of the difference holds 0; of fewer than "
        f"{FEWEST_USERS} users it says nothing."
    )
    section = Section(
        "differences", "Differences", [words], (), [Grid(["metric", "first", "second", "difference", ""], rows)]
    )
    return render(
        Report(
            title="Two backtests compared",
            facts={"First": str(first.folder), "Second": str(second.folder), "Labels": first.labels_digest},
            metrics=(),
            ours="",
            sections=[section],
            tiles=[
                Tile(metric_title(entry.metric), f"{entry.difference.mean:+.4f}", entry.verdict) for entry in compared
            ],
        )
    )
