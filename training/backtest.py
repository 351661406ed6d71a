"""Backtest: train on what is before a cut, recommend to everyone who came back after it, and measure.

Needs no service. Goes through the bundle and the recommender that serve: the bundle is written, verified and opened
again before it answers.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.contracts.errors import ContractError
from features.contracts.ids import MISSING
from features.contracts.profiles import Options
from features.contracts.times import from_us, zulu
from features.text.svd import fit_svd
from training.bundle.bundle import Bundle
from training.bundle.read import check_golden, open_bundle
from training.bundle.recommender import Recommender
from training.bundle.result import Recommendations
from training.bundle.write import write_bundle
from training.catalogue import came_at, load_facts
from training.config import TrainingConfig
from training.data import VIRTUAL_SPAN_US, Interactions
from training.evaluate import Evaluation, evaluation_of
from training.evaluation.cold_items import ColdItems, judge_cold_items
from training.evaluation.judged import Judged
from training.evaluation.measures import Measures
from training.evaluation.methods import K
from training.evaluation.newcomers import Newcomers, judge_newcomers
from training.fit import Fitted, fit
from training.frames import Loaded, catalogue_ids, load_categories
from training.fresh_fit import FreshFit
from training.judging import in_items_of
from training.lists import Group, recommend_all
from training.moments import Moment, newest_us, position_moments, time_moments
from training.progress import Progress, silent
from training.ranker import RankerFit
from training.retrieval import Training
from training.split import Split, cutoff_split, holdout_split, new_liked_items
from training.texts import FitEncoder, fit_texts


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a backtest cuts: at a time (microseconds UTC, or the input's own integer), or by a share of each user.

    With `may_be_last` nothing needs to have happened after that time: lists that nobody clicked are ranked, too.
    """

    cutoff: int | None = None
    holdout: float | None = None
    may_be_last: bool = False

    def split(self, interactions: Interactions) -> Split:
        """Return the split of interactions in the file's own times."""
        if self.cutoff is not None:
            return cutoff_split(interactions, self.cutoff, may_be_last=self.may_be_last)
        if self.holdout is not None:
            return holdout_split(interactions, self.holdout)
        raise ContractError("backtest: no cut given; pass --cutoff TIME or --holdout SHARE")

    def said(self, *, has_clock: bool) -> str:
        """Return the cut in words.

        >>> Cut(cutoff=0).said(has_clock=True), Cut(cutoff=7).said(has_clock=False)
        ('at 1970-01-01T00:00:00Z', 'at 7')
        >>> Cut(holdout=0.2).said(has_clock=True)
        "before each user's latest rows, 20% of them"
        """
        if self.cutoff is None:
            return f"before each user's latest rows, {100 * (self.holdout or 0):.4g}% of them"
        return f"at {zulu(from_us(self.cutoff))}" if has_clock else f"at {self.cutoff}"


@dataclass(frozen=True, eq=False)
class Backtest:
    """What a backtest found: lists for all users with later activity, and metrics on those who can be judged."""

    cut: Cut
    bundle: Bundle
    users: npt.NDArray[np.int32]
    lists: Recommendations
    evaluation: Evaluation
    newcomers: Newcomers
    cold_items: ColdItems | None
    ranker: RankerFit
    fresh: FreshFit | None
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Known:
    """A file cut in two: training data on the backtest's clock over known items only, and the later rows.

    `later` holds the rows of items that may be recommended, in the history's item indices; `all_later` all rows, in the
    file's. Both are on the history's clock.
    """

    history: Interactions
    later: Interactions
    all_later: Interactions
    until_us: int

    def as_of_us(self, users: npt.NDArray[np.int32], cut: Cut) -> npt.NDArray[np.int64]:
        """Return each user's moment: the cut, or just after the newest history event where users are cut by share."""
        if cut.cutoff is not None:
            return np.full(len(users), self.until_us, dtype=np.int64)
        return newest_us(self.history)[users] + 1

    def moments(self, cut: Cut, config: TrainingConfig) -> list[Moment]:
        """Return the ranker's moments, cut as the backtest itself is."""
        if cut.holdout is not None:
            return position_moments(self.history, cut.holdout, config.moments, include_seen=not config.exclude_seen)
        return time_moments(self.history, self.until_us, config.moments, include_seen=not config.exclude_seen)


def know(interactions: Interactions, cut: Cut, more_items: Sequence[str] = ()) -> Known:
    """Return what is known before the cut, over the items that had an event before it, and over `more_items`."""
    split = cut.split(interactions)
    history = interactions.take(split.history).with_items_of_rows().with_more_items(more_items).on_backtest_clock()
    if not history.has_clock:
        until_us = VIRTUAL_SPAN_US
    else:
        until_us = int(history.at_us[-1]) + 1 if cut.cutoff is None else cut.cutoff
    later = _on_clock_of(history, interactions.take(split.later))
    return Known(history, in_items_of(later, history.items), later, until_us)


def _on_clock_of(history: Interactions, later: Interactions) -> Interactions:
    """Return later rows on the history's clock; a virtual clock goes on at the pace of the history."""
    if history.has_clock:
        return replace(later, bucket_us=history.bucket_us)
    place = np.arange(len(history), len(history) + len(later))
    at_us = (place * (VIRTUAL_SPAN_US / len(history))).astype(np.int64)
    return replace(later, at_us=at_us, known_us=at_us, bucket_us=history.bucket_us, has_clock=False)


def run_backtest(
    loaded: Loaded,
    items: Path | None,
    cut: Cut,
    config: TrainingConfig,
    *,
    folder: Path,
    options: Options,
    fit_encoder: FitEncoder = fit_svd,
    progress: Progress = silent,
) -> Backtest:
    """Return the result of training before a cut and recommending after it; the bundle is left in `folder`/bundle."""
    started = time.perf_counter()
    known = know(loaded.interactions, cut, catalogue_ids(items) if config.new_items else ())
    training = training_of(known, items, fit_encoder, progress)
    bundle, fitted = _train(known, cut, config, training=training, folder=folder, progress=progress)
    trained = time.perf_counter()
    users = np.unique(known.all_later.user)
    progress(f"lists for {len(users)} users")
    lists, evaluation = _list_and_judge(
        bundle.recommender, known, users, cut, options, seed=config.seed, progress=progress
    )
    listed = time.perf_counter()
    newcomers = judge_newcomers(
        bundle.recommender, known.history, known.all_later, by_time=cut.cutoff is not None, seed=config.seed
    )
    cold = _judge_cold_items(bundle.recommender, known, users, cut, config) if config.new_items else None
    seconds = {"train": trained - started, "lists": listed - trained, "new": time.perf_counter() - listed}
    return Backtest(cut, bundle, users, lists, evaluation, newcomers, cold, fitted.known, fitted.fresh, seconds)


def training_of(
    known: Known, items: Path | None, fit_encoder: FitEncoder = fit_svd, progress: Progress = silent
) -> Training:
    """Return what a backtest learns from: what is known, and the catalogue of an items file if there is one."""
    ids = known.history.items
    texts = fit_texts(items, known.history, known.until_us, fit_encoder, progress)
    facts = load_facts(items, ids)
    return Training(known.history, load_categories(items, ids), facts, known.until_us, texts, came_at(items, ids))


def _train(
    known: Known, cut: Cut, config: TrainingConfig, *, training: Training, folder: Path, progress: Progress
) -> tuple[Bundle, Fitted]:
    """Return the bundle of what is known, written, verified and opened again, and how its rankers did."""
    parts, fitted = fit(training, known.moments(cut, config), config, progress)
    progress("bundle")
    path = folder / "bundle"
    digest = write_bundle(
        path, parts, created_at=datetime.fromtimestamp(0, tz=UTC), code_version="backtest", seed=config.seed
    )
    bundle = open_bundle(path, digest)
    check_golden(bundle)
    return bundle, fitted


def _list_and_judge(
    recommender: Recommender,
    known: Known,
    users: npt.NDArray[np.int32],
    cut: Cut,
    options: Options,
    *,
    seed: int,
    progress: Progress,
) -> tuple[Recommendations, Evaluation]:
    """Return the lists of all users and the evaluation of those who can be judged, from one pass."""
    whom = judged(known, users, cut, options)
    judged_as = np.full(len(users), MISSING, dtype=np.int64)
    judged_as[np.searchsorted(users, whom.users)] = np.arange(len(whom))
    long_enough = replace(options, k=max(options.k, K))
    measures = Measures(recommender, whom, long_enough, seed)
    done = 0

    def see(group: Group, found: Recommendations) -> None:
        nonlocal done
        measures.see(group, found, judged_as)
        done += len(group.position)
        progress(f"lists: {done} of {len(users)} users")

    lists = recommend_all(recommender, known.history, users, known.as_of_us(users, cut), long_enough, see=see)
    return lists.first(options.k), evaluation_of(recommender, whom, measures, seed)


def _judge_cold_items(
    recommender: Recommender, known: Known, users: npt.NDArray[np.int32], cut: Cut, config: TrainingConfig
) -> ColdItems:
    """Return how items without a history fare, for those of the users who have one."""
    users = np.intersect1d(users, known.history.user).astype(np.int32)
    moments = known.as_of_us(users, cut)
    return judge_cold_items(recommender, known.history, known.later, users, moments, seed=config.seed)


def judged(known: Known, users: npt.NDArray[np.int32], cut: Cut, options: Options) -> Judged:
    """Return the users with history and at least one new, known item liked later; with `include_seen` any known one."""
    users, again = np.intersect1d(users, known.history.user).astype(np.int32), bool(options.include_seen)
    labels = new_liked_items(known.history, known.later, users, include_seen=again)
    some = np.array([len(entry) > 0 for entry in labels], dtype=bool)
    kept = [entry for entry, keep in zip(labels, some, strict=True) if keep]
    return Judged(known.history, users[some], known.as_of_us(users[some], cut), kept, again)
