"""Cold start: catalogues of which a fifth is new, with their texts and without, on public data sets.

Where rows have times, the cut is the moment at which four fifths of all items had been met, and those that come later
are new. Where they have none to speak of, a fifth of the items, drawn at random, loses every interaction before the
cut. Each backtest is run on the same rows: once as if nothing were known of new items, and with `--new-items` and their
texts, by the default encoder and by MiniLM where `make minilm` has been. Users are judged on all that they liked later,
and on old items alone; new items are also ranked among themselves.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from benchmarks.quality import Prepared, goodbooks, movielens, movietweetings, online_retail, rounded
from benchmarks.record import RESULTS, commit, data_for, read, record, there_is_minilm
from features.text import minilm, svd
from ops.setup.minilm import model_folder
from training.evaluation.methods import SERVED
from training.evaluation.resampling import estimate_all
from training.frames import interactions_of
from training.metrics import Floats
from training.split import holdout_split

NEW_SHARE: Final = 0.2
SEED: Final = 0
K: Final = 10
WITHOUT: Final = "without"
OLD: Final = "old items"
_TAGS: Final = 15
_NO_TOPIC: Final = "to-read|currently|favo|own|books|default|kindle|ebook|audio|wish|library|shelf|re-read|finish"

Ids = set[str]


@dataclass(frozen=True, eq=False)
class Case:
    """Rows with ids as text, a catalogue, a cut between what is known and what is asked, and which items are new."""

    rows: pd.DataFrame
    items: pd.DataFrame
    cutoff: str
    is_history: "pd.Series[bool]"
    new: Ids

    def told(self) -> pd.DataFrame:
        """Return the rows without what was known of new items."""
        return self.rows[~(self.is_history & self.rows.item_id.isin(self.new))]


def _movielens(folder: Path) -> Case:
    frame, items, cut = _with_items(movielens(folder))
    tags = pd.read_parquet(folder / "ml-latest-small" / "tags.parquet")
    words = tags.groupby("item_id").tag.agg(lambda entries: ", ".join(dict.fromkeys(entries)))
    return _by_share(frame, items.assign(text=items.item_id.map(words).fillna("")), float(cut[1]))


def _goodbooks(folder: Path) -> Case:
    frame, items, cut = _with_items(goodbooks(folder))
    words = items.item_id.map(_book_tags(folder / "goodbooks")).fillna("")
    return _by_share(frame, items.assign(text=words), float(cut[1]))


def _book_tags(folder: Path) -> "pd.Series[str]":
    """Return the most used tags of each book, without those that tell of readers' shelves."""
    tags = pd.read_parquet(folder / "book_tags.parquet").merge(pd.read_parquet(folder / "tags.parquet"), on="tag_id")
    tags = tags[~tags.tag_name.str.contains(_NO_TOPIC)].sort_values("count", ascending=False, kind="stable")
    books = pd.read_parquet(folder / "books.parquet", columns=["book_id", "goodreads_book_id"])
    tags = tags.groupby("goodreads_book_id").head(_TAGS).merge(books, on="goodreads_book_id")
    return tags.groupby("book_id").tag_name.agg(lambda names: ", ".join(name.replace("-", " ") for name in names))


def _movietweetings(folder: Path) -> Case:
    frame, items, _ = _with_items(movietweetings(folder))
    return _by_time(frame, items)


def _online_retail(folder: Path) -> Case:
    frame, items, _ = _with_items(online_retail(folder))
    return _by_time(frame, items)


def _ranklens(folder: Path) -> Case:
    """Return clicks on films with descriptions; the last fifth of each person's clicks is asked for."""
    clicks = pd.read_parquet(folder / "ranklens" / "clicks.parquet")
    items = pd.read_parquet(folder / "ranklens" / "items.parquet")
    items = items.rename(columns={"description": "text", "director": "author"})
    items["categories"] = items.genres.map(lambda names: "|".join(map(str, names)) if names is not None else "")
    frame = pd.DataFrame(
        {
            "user_id": clicks.user_id,
            "item_id": clicks.item_id,
            "occurred_at": pd.to_datetime(clicks.timestamp_ms, unit="ms"),
            "action": "click",
        }
    )
    return _by_share(frame, items[["item_id", "title", "text", "author", "categories"]], 0.2)


DATA: Final[dict[str, Callable[[Path], Case]]] = {
    "ml-latest-small": _movielens,
    "goodbooks": _goodbooks,
    "online-retail": _online_retail,
    "movietweetings-100k": _movietweetings,
    "ranklens": _ranklens,
}


def _with_items(prepared: Prepared) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, str]]:
    frame, items, cut = prepared
    if items is None:
        raise ValueError("a cold start needs a catalogue")
    return frame, items, cut


def _by_time(frame: pd.DataFrame, items: pd.DataFrame) -> Case:
    """Return the case cut at the moment after which the last fifth of the items is met for the first time."""
    rows = _as_text(frame)
    first = pd.to_datetime(rows.occurred_at).groupby(rows.item_id).min().sort_values(kind="stable")
    cutoff = first.iloc[round((1 - NEW_SHARE) * len(first))]
    is_history = pd.to_datetime(rows.occurred_at) < cutoff
    return Case(rows, _as_text(items), cutoff.isoformat(), is_history, set(first.index[first >= cutoff]))


def _by_share(frame: pd.DataFrame, items: pd.DataFrame, share: float) -> Case:
    """Return the case in which each user's last rows are asked: all history first, numbered in order; new by lot."""
    rows = _as_text(frame)
    interactions = interactions_of(rows, Path("memory")).interactions
    order = rows.occurred_at.argsort(kind="stable").to_numpy()
    split = holdout_split(interactions, share)
    rows = rows.iloc[order[np.concatenate((split.history, split.later))]].reset_index(drop=True)
    rows["occurred_at"] = np.arange(len(rows))
    is_history = rows.occurred_at < len(split.history)
    known = np.array(sorted(rows[is_history].item_id.unique()))
    new = np.random.default_rng(SEED).permutation(known)[: round(NEW_SHARE * len(known))]
    some = rows.item_id.isin(known)
    return Case(rows[some], _as_text(items), str(len(split.history)), is_history[some], set(new.tolist()))


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    ids = [name for name in ("user_id", "item_id") if name in frame]
    return frame.astype(dict.fromkeys(ids, str)).reset_index(drop=True)


def run(names: Sequence[str] = tuple(DATA)) -> None:
    """Run the backtests of each data set, and record their figures and a plot."""
    folder = data_for("cold")
    if folder is None:
        return
    known = read("cold")
    figures: dict[str, Any] = {} if known is None else known["figures"]
    for name in names:
        print(f"cold: {name}", flush=True)
        figures[name] = {"commit": commit(), **measure(DATA[name](folder))}
        record("cold", figures)
    plot(figures, RESULTS / "cold.png")


def encoders() -> dict[str, tuple[str, ...]]:
    """Return the options by which a backtest reads texts, by kind of encoder."""
    by_model = {minilm.KIND: ("--minilm", str(model_folder()))} if there_is_minilm() else {}
    return {svd.KIND: (), **by_model}


def measure(case: Case) -> dict[str, Any]:
    """Return how lists with new items and their texts fare against lists without, on the same users."""
    new, known = case.new, case.rows.item_id.unique()
    items = case.items[case.items.item_id.isin(known)]
    liked, by_kind = _liked(case), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        case.told().to_parquet(folder / "rows.parquet")
        items.to_parquet(folder / "items.parquet")
        texts = [column for column in ("title", "text", "author") if column in items]
        items.drop(columns=texts).to_parquet(folder / "plain.parquet")
        without = _backtest(folder, "plain.parquet", case.cutoff, WITHOUT)
        columns = {WITHOUT: _ndcg(without, liked), f"{OLD}, {WITHOUT}": _ndcg(without, liked, leave_out=new)}
        for kind, more in encoders().items():
            lists = _backtest(folder, "items.parquet", case.cutoff, kind, "--new-items", *more)
            columns |= {kind: _ndcg(lists, liked), f"{OLD}, {kind}": _ndcg(lists, liked, leave_out=new)}
            columns[f"gain, {kind}"] = columns[kind] - columns[WITHOUT]
            columns[f"gain on {OLD}, {kind}"] = columns[f"{OLD}, {kind}"] - columns[f"{OLD}, {WITHOUT}"]
            metrics = json.loads((folder / kind / "metrics.json").read_text(encoding="utf-8"))
            shown = [item in new for user in liked for item in lists.get(user, [])[:K]]
            by_kind[kind] = {
                "new_items_in_lists": round(float(np.mean(shown)), 4),
                "among_new_items": _among(metrics["cold_items"]),
                "seconds": metrics["seconds"],
            }
    found = estimate_all(columns, SEED)
    for kind, said in by_kind.items():
        said["gain_percent"] = round(100 * found[f"gain, {kind}"].mean / found[WITHOUT].mean, 1)
    return {
        "items": len(known),
        "new_items": len(new),
        "users": len(liked),
        "ndcg@10": {name: rounded(estimate.to_json()) for name, estimate in found.items()},
        "encoders": by_kind,
    }


def _backtest(folder: Path, items: str, cutoff: str, out: str, *more: str) -> dict[str, list[str]]:
    """Return the list of each user, long enough that the first ten old items are in it."""
    command = [sys.executable, "-m", "training", "backtest", "--interactions", str(folder / "rows.parquet")]
    command += ["--items", str(folder / items), "--cutoff", cutoff, "--k", "50", "--out", str(folder / out), *more]
    subprocess.run(command, check=True)
    lists = pd.read_parquet(folder / out / "recommendations.parquet").sort_values(["user_id", "rank"])
    return {str(user): found.tolist() for user, found in lists.groupby("user_id").item_id}


def _liked(case: Case) -> dict[str, Ids]:
    """Return what each user with a history liked later and had not had, new items too: all rows show liking."""
    had = case.rows[case.is_history].groupby("user_id").item_id.agg(set)
    later = case.rows[~case.is_history].groupby("user_id").item_id.agg(set)
    found = {str(user): later[user] - had[user] for user in later.index.intersection(had.index)}
    return {user: items for user, items in found.items() if items}


def _ndcg(lists: dict[str, list[str]], liked: dict[str, Ids], leave_out: Ids | None = None) -> Floats:
    """Return NDCG@10 of each user; of lists and labels without some items, NaN where no label is left."""
    left_out = leave_out or set()
    discount = 1 / np.log2(np.arange(2, K + 2))
    values = np.full(len(liked), np.nan)
    for row, (user, items) in enumerate(liked.items()):
        wanted = items - left_out
        if not wanted:
            continue
        kept = [item for item in lists.get(user, []) if item not in left_out][:K]
        hit = np.array([item in wanted for item in kept], dtype=float)
        values[row] = float(hit @ discount[: len(hit)]) / float(discount[: min(K, len(wanted))].sum())
    return values


def _among(cold: dict[str, Any]) -> dict[str, Any]:
    """Return NDCG@10 of new items among themselves by method, for each number of events that are read."""
    stages = {str(stage["events"] if stage["events"] is not None else "all"): stage for stage in cold["stages"]}
    methods = {
        events: {name: rounded(found["ndcg@10"]) for name, found in stage["methods"].items()}
        for events, stage in stages.items()
    }
    return {"users": cold["users"], "events": methods}


def plot(figures: dict[str, Any], path: Path) -> None:
    """Draw, for each data set, new items among themselves by the events read of a user."""
    mpl.use("Agg")
    figure, panels = plt.subplots(1, len(figures), figsize=(3.6 * len(figures), 3.8), squeeze=False)
    for panel, (name, found) in zip(panels[0], figures.items(), strict=True):
        by_kind = {kind: said["among_new_items"]["events"] for kind, said in found["encoders"].items()}
        events = by_kind[svd.KIND]
        for method in next(iter(events.values())):
            style = {"color": "#c0392b", "linewidth": 2.2} if method == SERVED else {"linewidth": 1.2}
            _line(panel, events, method, label=method, **style)
        if minilm.KIND in by_kind:
            style = {"color": "#c0392b", "linewidth": 1.6, "linestyle": "--"}
            _line(panel, by_kind[minilm.KIND], SERVED, label=f"{SERVED}, by MiniLM", **style)
        panel.set_title(f"{name}\n{found['new_items']} new items", fontsize=10)
        panel.set_xlabel("events read of a user")
        panel.set_ylim(bottom=0)
    panels[0][0].set_ylabel("NDCG@10 among new items")
    lines, names = panels[0][0].get_legend_handles_labels()
    figure.legend(lines, names, loc="lower center", ncols=len(names), fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _line(panel: Axes, events: dict[str, Any], method: str, **style: Any) -> None:
    means = [events[stage][method]["mean"] for stage in events]
    panel.plot(list(events), means, marker="o", markersize=3, **style)
