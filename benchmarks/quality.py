"""Quality: the backtest on four public data sets, beside its baselines."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd

from benchmarks.record import RESULTS, commit, data_for, read, record

_RETAIL_CUT: Final = "2011-09-20"
IN_SEGMENTS: Final = ("marquee", "popularity", "recent popularity (1 day)", "ALS", "EASE", "blend of all sources")
"""Methods whose figures by segment are recorded."""

Prepared = tuple[pd.DataFrame, pd.DataFrame | None, tuple[str, str]]


def movielens(folder: Path) -> Prepared:
    """Return MovieLens ml-latest-small: ratings of at least 3.5, the last fifth of each user held out."""
    ratings = pd.read_parquet(folder / "ml-latest-small" / "ratings.parquet").query("rating >= 3.5")
    items = pd.read_parquet(folder / "ml-latest-small" / "items.parquet").rename(columns={"genres": "categories"})
    at = pd.to_datetime(ratings.timestamp, unit="s")
    return _frame(ratings.user_id, ratings.item_id, at, value=ratings.rating), items, ("--holdout", "0.2")


def goodbooks(folder: Path) -> Prepared:
    """Return goodbooks: ratings of at least 4 in published order, the last fifth of each user held out.

    The catalogue tells title, authors and year; what readers made of a book in all (tags, mean ratings) stays out.
    """
    ratings = pd.read_parquet(folder / "goodbooks" / "ratings_5pct_ordered.parquet").query("rating >= 4")
    frame = _frame(ratings.user_id, ratings.book_id, ratings.seq, value=ratings.rating)
    books = pd.read_parquet(folder / "goodbooks" / "books.parquet")
    items = pd.DataFrame(
        {
            "item_id": books.book_id,
            "title": books.title,
            "categories": books.authors.str.split(", ").str.join("|"),
            "year": books.original_publication_year,
        }
    )
    return frame, items, ("--holdout", "0.2")


def online_retail(folder: Path) -> Prepared:
    """Return Online Retail: purchases of known customers, cut at 2011-09-20.

    The catalogue tells description and price as they were before the cut.
    """
    rows = pd.read_parquet(folder / "online-retail" / "transactions.parquet")
    bought = rows.customer_id.notna() & (rows.quantity > 0) & (rows.unit_price > 0)
    rows = rows[bought & ~rows.invoice_no.str.startswith("C")]
    frame = _frame(rows.customer_id.astype("int64"), rows.stock_code, rows.invoice_ts, action="purchase")
    before = rows[rows.invoice_ts < _RETAIL_CUT].sort_values("invoice_ts").groupby("stock_code")
    items = before.agg(title=("description", "last"), price=("unit_price", "median")).reset_index(names="item_id")
    return frame, items, ("--cutoff", _RETAIL_CUT)


def movietweetings(folder: Path) -> Prepared:
    """Return MovieTweetings: ratings of at least 7, cut at 80 % of them in time."""
    ratings = pd.read_parquet(folder / "movietweetings-100k" / "ratings.parquet").query("rating >= 7")
    items = pd.read_parquet(folder / "movietweetings-100k" / "items.parquet").rename(columns={"genres": "categories"})
    cutoff = pd.Timestamp(float(ratings.timestamp.quantile(0.8)), unit="s")
    frame = _frame(ratings.user_id, ratings.item_id, pd.to_datetime(ratings.timestamp, unit="s"), value=ratings.rating)
    return frame, items, ("--cutoff", cutoff.isoformat())


DATA: Final[dict[str, Callable[[Path], Prepared]]] = {
    "ml-latest-small": movielens,
    "goodbooks": goodbooks,
    "online-retail": online_retail,
    "movietweetings-100k": movietweetings,
}


def written(prepared: Prepared, folder: Path) -> tuple[Path, Path | None]:
    """Return the files of a data set's interactions and catalogue, written into a folder."""
    frame, items, _ = prepared
    rows, catalogue = folder / "interactions.parquet", folder / "items.parquet"
    frame.to_parquet(rows)
    if items is None:
        return rows, None
    items.to_parquet(catalogue)
    return rows, catalogue


def run(names: Sequence[str] = tuple(DATA)) -> None:
    """Run backtests, all four by default, each in a process of its own, and record their figures and a plot."""
    folder = data_for("quality")
    if folder is None:
        return
    known = read("quality")
    figures: dict[str, Any] = {} if known is None else known["figures"]
    for name in names:
        print(f"quality: {name}", flush=True)
        figures[name] = {"commit": commit(), **_backtest(DATA[name](folder))}
        record("quality", figures)  # after each: a run that is stopped keeps what it measured
    plot(figures, RESULTS / "quality.png")


def plot(figures: dict[str, Any], path: Path) -> None:
    """Draw NDCG@10 of the served line and its baselines with 95 % intervals, one panel per data set."""
    mpl.use("Agg")
    figure, panels = plt.subplots(1, len(figures), figsize=(4.2 * len(figures), _height(figures)), sharey=True)
    for panel, (name, found) in zip(panels, figures.items(), strict=True):
        bars = list(_bars(found))
        names, means, errors = zip(*bars, strict=True)
        colours = ["#c0392b" if method == "marquee" else "#8aa1b1" for method in names]
        panel.barh(names, means, xerr=list(zip(*errors, strict=True)), color=colours, capsize=2)
        panel.set_title(f"{name}\n{found['users']} users", fontsize=10)
        panel.set_xlabel("NDCG@10")
    panels[0].invert_yaxis()  # shared by all
    panels[0].tick_params(axis="y", labelsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _height(figures: dict[str, Any]) -> float:
    return 1.4 + 0.26 * max(len(found["methods"]) for found in figures.values())


def _bars(found: dict[str, Any]) -> Iterator[tuple[str, float, tuple[float, float]]]:
    for method, metrics in found["methods"].items():
        ndcg = metrics["ndcg@10"]
        yield method, ndcg["mean"], (ndcg["mean"] - ndcg["low"], ndcg["high"] - ndcg["mean"])


def _backtest(prepared: Prepared) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows, items = written(prepared, folder)
        command = [sys.executable, "-m", "training", "backtest", "--interactions", str(rows)]
        if items is not None:
            command += ["--items", str(items)]
        subprocess.run([*command, *prepared[2], "--k", "20", "--out", str(folder / "out")], check=True)
        metrics = json.loads((folder / "out" / "metrics.json").read_text(encoding="utf-8"))
    return {
        "interactions": metrics["data"]["interactions"],
        "order_by": metrics["order_by"],
        "seconds": metrics["seconds"],
        **rounded(_kept(metrics["evaluation"])),
        "newcomers": rounded(metrics["newcomers"]),
    }


def _kept(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return an evaluation with segments of some methods only, and importance as shares of all features together."""
    total = sum(evaluation["importance"].values()) or 1.0
    importance = {name: value / total for name, value in evaluation["importance"].items()}
    segments = {
        kind: [
            {
                **part,
                "methods": {method: part["methods"][method] for method in IN_SEGMENTS if method in part["methods"]},
            }
            for part in parts
        ]
        for kind, parts in evaluation["segments"].items()
    }
    left_out = {"reliability", "importance", "segments"}
    kept = {name: value for name, value in evaluation.items() if name not in left_out}
    return kept | {"segments": segments, "importance": importance}


def rounded(value: Any) -> Any:
    """Return JSON values with floats of five digits after the point: more says nothing."""
    if isinstance(value, dict):
        return {name: rounded(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return round(value, 5) if isinstance(value, float) else value


def _frame(users: "pd.Series[Any]", items: "pd.Series[Any]", at: Any, **more: Any) -> pd.DataFrame:
    return pd.DataFrame({"user_id": users, "item_id": items, "occurred_at": at, **more})
