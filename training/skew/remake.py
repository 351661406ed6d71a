"""Recorded lists made again by the code that makes training rows: log, replayed statistics, profiles, candidates."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

import numpy as np

from features.contracts.profiles import Options, Profiles
from features.contracts.statistics import StatisticsRows
from features.contracts.weights import ActionWeights
from features.items import ItemView
from features.served import Considered, Origin, ServedList
from training.bundle.bundle import Bundle
from training.bundle.sources import BY_TEXT
from training.data import Rows
from training.judging import in_items_of
from training.lists import groups
from training.skew.log import IN_FLIGHT_US, KnownLog
from training.skew.parity import Compared, Remade, compare

ReadStored = Callable[[int], StatisticsRows]
"""Gives the rows of all items that were the newest at a bucket edge, and the weights that rows go by now."""
NEVER_ENDS_US: Final = np.iinfo(np.int64).max
INLINE: Final = "the request brought events of its own"
OWN_CANDIDATES: Final = "candidates were not retrieved for the user: the request, or an item, named them"
OTHER_FEATURES: Final = "the features are others now"
GONE: Final = "events of the history are not stored any more"
"""Why a list cannot be made again at all."""
LATE_HISTORY: Final = "history of the user came in afterwards"
GROWN: Final = "items had joined the served model since it was trained"
OWN_STATISTICS: Final = "it was served by the bundle's own statistics, which no log tells"
LATE: Final = "events of buckets already closed came in about then: statistics were computed anew"
OTHER_WEIGHTS: Final = "stored statistics are computed by other action weights now"
"""Why a list may come out otherwise through no fault of the serving path."""
OF_STATISTICS: Final = frozenset({OWN_STATISTICS, LATE, OTHER_WEIGHTS})
"""Excuses that all lists of a bucket edge share: void where others of that edge come out the same."""


@dataclass(frozen=True, eq=False, slots=True)
class Outcome:
    """What came of one list.

    Attributes
    ----------
    compared
        None where it could not be made again.
    excuses
        Why it may be other than it was, as far as that is known beforehand; the only one where it was not compared.
    """

    served: ServedList
    compared: Compared | None
    excuses: frozenset[str]


@dataclass(frozen=True, eq=False, slots=True)
class _Job:
    """A list that can be made again: what it was made from, and the rows of its history."""

    served: ServedList
    origin: Origin
    considered: Considered
    rows: Rows
    excuses: frozenset[str]


def remake(
    bundle: Bundle, log: KnownLog, lists: Sequence[ServedList], stored: ReadStored | None = None
) -> Iterator[Outcome]:
    """Yield what comes of each list, in no order.

    Parameters
    ----------
    bundle
        That made the lists.
    log
        All interactions that were known when the last of them was made, and some seconds later.
    lists
        Each with candidates that a ranker ordered.
    stored
        Reads statistics as they are stored, where the log no longer holds all events that they counted; None where it
        does, and they are replayed.
    """
    runs: dict[int, list[_Job]] = {}
    first_us: dict[int, int] = {}
    for served in lists:
        found = _job(bundle, log, served, is_whole=stored is None)
        if isinstance(found, str):
            yield Outcome(served, None, frozenset({found}))
            continue
        # One pass over the log serves all edges between which nothing landed late.
        edge, as_of_us = found.origin.statistics_closed_at_us, found.origin.as_of_us
        first = first_us.setdefault(edge, as_of_us)
        runs.setdefault(int(np.searchsorted(log.late_us, first)), []).append(found)
    if stored is not None:
        yield from _by_stored(bundle, log, [job for jobs in runs.values() for job in jobs], stored)
        return
    for jobs in runs.values():
        yield from _remade(bundle, log, jobs, max(first_us[job.origin.statistics_closed_at_us] for job in jobs))


def is_retrieved(served: ServedList) -> bool:
    """Return whether a list's candidates are those of its user, as training has them: not given, not like an item."""
    return served.request.get("candidates") is None and served.request.get("kind", "feed") == "feed"


def _job(bundle: Bundle, log: KnownLog, served: ServedList, *, is_whole: bool) -> _Job | str:
    """Return what a list is made again from, or why it cannot be."""
    origin, considered = served.origin, served.considered
    assert origin is not None  # noqa: S101  # only such lists are asked for
    assert considered is not None  # noqa: S101
    if not is_retrieved(served):
        return OWN_CANDIDATES
    if list(considered.feature_names) != list(bundle.spec.names):
        return OTHER_FEATURES
    recorded = list(served.history_event_ids)
    if served.request.get("history"):
        return INLINE
    user_id = served.user_id or ""
    rows = log.readable(user_id, origin.as_of_us, recorded, bundle.manifest.history_limit)
    of_user = log.of_user(user_id)
    if set(recorded) - set(log.event_ids[of_user]):
        return GONE
    # Stored rows of items with late events are computed anew whenever these come.
    until_us = origin.as_of_us + IN_FLIGHT_US if is_whole else NEVER_ENDS_US
    excuses = {
        LATE_HISTORY: _came_late(log, of_user, rows, recorded),
        GROWN: origin.arrivals is not None,
        OWN_STATISTICS: origin.own_statistics,
        LATE: log.came_late(origin.statistics_closed_at_us, until_us),
    }
    return _Job(served, origin, considered, rows, frozenset(name for name, holds in excuses.items() if holds))


def _came_late(log: KnownLog, of_user: Rows, rows: Rows, recorded: Sequence[str]) -> bool:
    """Return whether the history is another than was read, and only by rows that landed late."""
    read = of_user[np.isin(log.event_ids[of_user].astype(str), np.asarray(recorded, dtype=str))]
    others = np.setxor1d(rows, read)
    return bool(len(others)) and bool(log.late[others].any())


def _remade(bundle: Bundle, log: KnownLog, jobs: Sequence[_Job], late_us: int) -> Iterator[Outcome]:
    """Yield lists whose statistics come of one pass over the log without what landed late from a moment on."""
    profiles = _profiles(bundle, log, jobs)
    events = in_items_of(log.without_late(late_us), bundle.items)
    edges = np.array([job.origin.statistics_closed_at_us for job in jobs], dtype=np.int64)
    for group in groups(events, np.arange(len(jobs)), edges, bundle.manifest.history_limit, profiles):
        view = bundle.recommender.view(group.statistics)
        for user, position in enumerate(group.position.tolist()):
            yield _outcome(bundle, jobs[position], group.profiles, user, view)


def _by_stored(bundle: Bundle, log: KnownLog, jobs: Sequence[_Job], stored: ReadStored) -> Iterator[Outcome]:
    """Yield lists by the statistics that are stored of their edges."""
    profiles = _profiles(bundle, log, jobs)
    ordered = sorted(range(len(jobs)), key=lambda user: jobs[user].origin.statistics_closed_at_us)
    for edge_us, users in groupby(ordered, key=lambda user: jobs[user].origin.statistics_closed_at_us):
        rows = stored(edge_us)
        view = bundle.recommender.view(rows.aligned(bundle.items)[0].at(rows.closed_at_us))
        other = bool(rows.weights) and ActionWeights.from_json(rows.weights) != bundle.parts.weights
        for user in users:
            found = _outcome(bundle, jobs[user], profiles, user, view)
            yield replace(found, excuses=found.excuses | {OTHER_WEIGHTS}) if other else found


def _profiles(bundle: Bundle, log: KnownLog, jobs: Sequence[_Job]) -> Profiles:
    return log.profiles([job.rows for job in jobs], [job.served.recommendation_id for job in jobs], bundle.items)


def _outcome(bundle: Bundle, job: _Job, profiles: Profiles, user: int, view: ItemView) -> Outcome:
    remade = _candidates(bundle, job, profiles, user, view)
    only_met = GROWN in job.excuses  # among more new items each of them ranks otherwise
    compared = compare(job.served.recommendation_id, job.considered, remade, only_met=only_met)
    return Outcome(job.served, compared, job.excuses)


def _candidates(bundle: Bundle, job: _Job, profiles: Profiles, user: int, view: ItemView) -> Remade:
    """Return the candidates of both kinds, as `training.groups` and `training.fresh_slices` ask for them."""
    allowed = job.origin.allowed[: bundle.manifest.n_items]
    options = Options(k=job.served.request["k"], eligible=allowed, include_seen=True, **job.served.exploration)
    recommender = bundle.recommender
    found, rows = recommender.candidates(profiles, user, view, options)
    met = Remade(bundle.items.external(found.items), np.zeros(len(found.items), dtype=bool), rows)
    budgets = bundle.manifest.plan.budgets
    if not len(bundle.parts.fresh) or not any(budgets.get(name, 0) for name in BY_TEXT):
        return met
    new, rows = recommender.fresh_candidates(profiles, user, view, options)
    return replace(
        met,
        item_ids=[*met.item_ids, *bundle.items.external(new.items)],
        unmet=np.append(met.unmet, np.ones(len(new.items), dtype=bool)),
        rows=np.concatenate((met.rows, rows)),
    )
