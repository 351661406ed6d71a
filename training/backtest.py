"""Backtest: train on what is before a cut, recommend to everyone who came back after it, and measure.

Needs no service. Goes through the bundle and the recommender that serve: the bundle is written, verified and opened
again before it answers.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.contracts.columns import ITEM, RANK, SCORE, SOURCE, USER
from features.contracts.errors import ContractError
from features.contracts.ids import MISSING
from features.contracts.profiles import Options
from training.bundle.bundle import Bundle
from training.bundle.read import check_golden, open_bundle
from training.bundle.result import Recommendations
from training.bundle.write import write_bundle
from training.config import TrainingConfig
from training.data import VIRTUAL_SPAN_US, Interactions
from training.evaluate import Evaluation, Judged, evaluate
from training.fit import fit
from training.frames import Loaded, load_categories
from training.lists import recommend_all
from training.moments import Moment, newest_us, position_moments, time_moments
from training.ranker import RankerFit
from training.retrieval import Training
from training.split import Split, cutoff_split, holdout_split, new_liked_items

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a backtest cuts: at a time (microseconds UTC, or the input's own integer), or by a share of each user."""

    cutoff: int | None = None
    holdout: float | None = None

    def split(self, interactions: Interactions) -> Split:
        """Return the split of interactions in the file's own times."""
        if self.cutoff is not None:
            return cutoff_split(interactions, self.cutoff)
        if self.holdout is not None:
            return holdout_split(interactions, self.holdout)
        raise ContractError("backtest: no cut given; pass --cutoff TIME or --holdout SHARE")


@dataclass(frozen=True, eq=False)
class Backtest:
    """What a backtest found: lists for all users with later activity, and metrics on those who can be judged."""

    bundle: Bundle
    users: npt.NDArray[np.int32]
    lists: Recommendations
    evaluation: Evaluation
    ranker: RankerFit
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Known:
    """A file cut in two: training data on the backtest's clock over known items only, and the later rows."""

    history: Interactions
    later: Interactions
    former_item: npt.NDArray[np.int32]
    until_us: int

    def as_of_us(self, users: npt.NDArray[np.int32], cut: Cut) -> npt.NDArray[np.int64]:
        """Return each user's moment: the cut, or just after the newest history event where users are cut by share."""
        if cut.cutoff is not None:
            return np.full(len(users), self.until_us, dtype=np.int64)
        return newest_us(self.history)[users] + 1

    def moments(self, cut: Cut, config: TrainingConfig) -> list[Moment]:
        """Return the ranker's moments, cut as the backtest itself is."""
        if cut.holdout is not None:
            return position_moments(self.history, cut.holdout, config.moments)
        return time_moments(self.history, self.until_us, config.moments)


def know(interactions: Interactions, cut: Cut) -> Known:
    """Return what is known before the cut, over the items that had an event before it."""
    split = cut.split(interactions)
    history, former = interactions.take(split.history).with_items_of_rows()
    history = history.on_backtest_clock()
    if not history.has_clock:
        until_us = VIRTUAL_SPAN_US
    else:
        until_us = int(history.at_us[-1]) + 1 if cut.cutoff is None else cut.cutoff
    return Known(history, _onto(history, former, interactions.take(split.later)), former, until_us)


def _onto(history: Interactions, former: npt.NDArray[np.int32], later: Interactions) -> Interactions:
    """Return the later rows whose item is known, in the history's item indices."""
    position = np.full(len(later.items), MISSING, dtype=np.int32)
    position[former] = np.arange(len(former), dtype=np.int32)
    rows = np.flatnonzero(position[later.item] != MISSING)
    kept = later.take(rows)
    return Interactions(
        history.users, history.items, kept.user, position[kept.item], kept.weight, kept.at_us, kept.known_us
    )


def run_backtest(
    loaded: Loaded,
    items: Path | None,
    cut: Cut,
    config: TrainingConfig,
    *,
    folder: Path,
    options: Options,
    progress: Progress = lambda _: None,
) -> Backtest:
    """Return the result of training before a cut and recommending after it; the bundle is left in `folder`/bundle."""
    started = time.perf_counter()
    known = know(loaded.interactions, cut)
    training = Training(known.history, load_categories(items, known.history.items), known.until_us)
    parts, ranker = fit(training, known.moments(cut, config), config, progress)
    progress("bundle")
    path = folder / "bundle"
    digest = write_bundle(
        path, parts, created_at=datetime.fromtimestamp(0, tz=UTC), code_version="backtest", seed=config.seed
    )
    bundle = open_bundle(path, digest)
    check_golden(bundle)
    trained = time.perf_counter()
    users = np.unique(loaded.interactions.user[cut.split(loaded.interactions).later])
    progress(f"lists for {len(users)} users")
    lists = recommend_all(bundle.recommender, known.history, users, known.as_of_us(users, cut), options)
    listed = time.perf_counter()
    evaluation = evaluate(bundle.recommender, judged(known, users, cut, options), seed=config.seed, progress=progress)
    seconds = {"train": trained - started, "recommend": listed - trained, "evaluate": time.perf_counter() - listed}
    return Backtest(bundle, users, lists, evaluation, ranker, seconds)


def judged(known: Known, users: npt.NDArray[np.int32], cut: Cut, options: Options) -> Judged:
    """Return the users with history and at least one new, known item liked later."""
    users = np.intersect1d(users, known.history.user).astype(np.int32)
    labels = new_liked_items(known.history, known.later, users, include_seen=options.include_seen)
    some = np.array([len(entry) > 0 for entry in labels], dtype=bool)
    kept = [entry for entry, keep in zip(labels, some, strict=True) if keep]
    return Judged(known.history, users[some], known.as_of_us(users[some], cut), kept)


def recommendations_frame(result: Backtest, loaded: Loaded) -> pd.DataFrame:
    """Return the lists as rows (user_id, item_id, rank, score, source), ids in the types of the input."""
    former = loaded.interactions.items.index(result.bundle.items.external(np.arange(len(result.bundle.items))))
    flat = result.lists.flat(result.bundle.source_names)
    return pd.DataFrame(
        {
            USER: loaded.user_values[result.users[flat.row]],
            ITEM: loaded.item_values[former[flat.item]],
            RANK: flat.rank,
            SCORE: flat.score,
            SOURCE: flat.source,
        }
    )


def metrics_json(result: Backtest, loaded: Loaded, config: TrainingConfig) -> dict[str, Any]:
    """Return everything that ``metrics.json`` holds."""
    manifest = result.bundle.manifest
    return {
        "data": {
            "interactions": len(loaded.interactions),
            "trained_on": manifest.n_interactions,
            "items_known": manifest.n_items,
            "users_with_later_activity": len(result.users),
        },
        "evaluation": result.evaluation.to_json(),
        "validation_ndcg@10": result.ranker.validation,
        "order_by": manifest.plan.order_by,
        "cold_source": manifest.plan.cold_source,
        "ranker": {"rows": result.ranker.n_rows, "groups": result.ranker.n_groups, "trees": result.ranker.n_trees},
        "parameters": config.parameters(),
        "bundle": result.bundle.digest,
        "seconds": {name: round(value, 1) for name, value in result.seconds.items()},
    }


def write_results(result: Backtest, loaded: Loaded, config: TrainingConfig, folder: Path) -> None:
    """Write ``recommendations.parquet`` and ``metrics.json``."""
    recommendations_frame(result, loaded).to_parquet(folder / "recommendations.parquet", index=False)
    content = json.dumps(metrics_json(result, loaded, config), indent=1)
    (folder / "metrics.json").write_text(content + "\n", encoding="utf-8")
