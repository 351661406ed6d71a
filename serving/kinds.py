"""Kinds of lists: what `type` asks for, each made from the same inputs and kept to the same rules.

Whatever a kind has too little of is filled up: k items come back whenever k may.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from features.contracts.profiles import Options, Profiles
from features.contracts.statistics import ItemStatistics
from serving import fallback
from serving.asks import Ask, Kind
from serving.explain import reason_of, unranked
from serving.item_states import ItemStates, Mask
from serving.live import LiveModel
from serving.newest import first_allowed
from serving.rules import allowed_rows
from serving.seams import By, Model
from training.bundle.fusion import FUSION_CONSTANT
from training.bundle.laps import Lap
from training.bundle.result import NO_HISTORY, Recommendations, Trace

NEW: Final = "new"
"""Source of items that stand in a list because they are new in the catalogue."""

NEAREST: Final = 50
"""Items like one that are looked at, by behaviour and by text each: neighbour tables hold 64."""
_SOURCES: Final[Mapping[By, str]] = {"behaviour": "similar", "content": "content"}

WORDS: Final[Mapping[Kind, Mapping[str, str]]] = {
    **{kind: {} for kind in get_args(Kind)},
    "similar": {"similar": "Similar to", "content": "Reads like"},
}
"""What a kind says instead of the usual words before the title of the item that speaks for another."""


ORDERS: Final[Mapping[Kind, Mapping[str, str]]] = {
    "trending": {
        "ordered_by": "trend",
        "said": "Ordered by what trends with everyone, the latest trends first; no feature counted.",
    },
    "new": {"ordered_by": NEW, "said": "Ordered by how new it is in the catalogue; no feature counted."},
    "similar": {
        "ordered_by": "likeness",
        "said": "Ordered by how much it is like the item and by what the ranker says of the user's taste; as the feed "
        "is, where there is no item to be like.",
    },
}
"""What explanations of kinds say that are not ordered as the feed is."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What one list is to be of.

    Attributes
    ----------
    item
        Internal index of the item whose like are wanted; `MISSING` = that of the user's latest liked item.
    unknown
        Why the list cannot be what was asked for, None where it can.
    """

    kind: Kind = "feed"
    item: int = MISSING
    unknown: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """All that a kind makes its list from: one user of a batch of one."""

    model: Model
    profiles: Profiles
    statistics: ItemStatistics
    as_of_us: int
    options: Options
    trace: bool
    lap: Lap

    def feed(self, options: Options) -> Recommendations:
        """Return what the model recommends."""
        return self.model.recommend(
            self.profiles, self.statistics, self.as_of_us, options, trace=self.trace, lap=self.lap
        )


def wish_of(ask: Ask, live: LiveModel) -> Wish:
    """Return what a request's list is to be of."""
    if ask.kind == "similar" and ask.item_id is not None:
        item = int(live.model.items.index_or_missing([ask.item_id])[0])
        return Wish(unknown=fallback.ITEM_UNKNOWN) if item == MISSING else Wish("similar", item)
    # Without the states of items nothing tells which are new; the answer says that these are missing.
    return Wish("feed" if ask.kind == "new" and not live.items.loaded else ask.kind)


def ranked(wish: Wish, call: Call) -> Recommendations:
    """Return the list of a kind as far as the model knows items: some milliseconds of the event loop."""
    if wish.kind == "trending":
        return call.model.trending(call.profiles, call.statistics, call.options)
    if wish.kind == "new":
        return call.model.popular(call.profiles, call.statistics, call.options)
    if wish.kind == "similar":
        item = _latest_liked(call.profiles) if wish.item == MISSING else wish.item
        if item != MISSING:
            return _similar(item, call)
    return call.feed(call.options)


def with_catalogue(
    items: list[dict[str, Any]], ask: Ask, had: Collection[str], states: ItemStates, as_of_us: int
) -> list[dict[str, Any]]:
    """Return a list in its wire form, filled up to k with the newest items of the catalogue that may come back.

    These are items that no bundle knows yet; a list of new items begins with what is newest, known to a bundle or not.

    Parameters
    ----------
    items
        In their wire form, best first.
    had
        External ids of what the user had and shall not get again.
    """
    first = ask.kind == "new" and states.loaded
    if not first and len(items) >= ask.k:
        return items
    listed = [] if first else items
    leave_out = {*had, *(item["item_id"] for item in listed)}
    rows = first_allowed(states.newest_first(), allowed_rows(ask, leave_out, states, as_of_us), ask.k - len(listed))
    new = [_wire(states, row, place, explain=ask.explain) for place, row in enumerate(rows, 1)]
    if not first:
        return _numbered([*listed, *new])
    known = {item["item_id"] for item in new}
    return _numbered([*new, *(item for item in items if item["item_id"] not in known)][: ask.k])


def _wire(states: ItemStates, row: int, place: int, *, explain: bool) -> dict[str, Any]:
    state = states.state(row)
    assert state is not None  # noqa: S101  # rows of known states
    said: dict[str, Any] = {"explanation": unranked(ORDERS["new"])} if explain else {}
    return {
        "item_id": state.item_id,
        "rank": place,
        "score": 1.0 / place,
        "source": NEW,
        "reason": reason_of(NEW, None),
        "title": state.title or None,
        **said,
    }


def _numbered(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return items with their ranks and with scores that fall."""
    scores = falling([item["score"] for item in items])
    return [
        {**item, "rank": rank, "score": score} for rank, (item, score) in enumerate(zip(items, scores, strict=True), 1)
    ]


def falling(scores: Sequence[float]) -> list[float]:
    """Return the scores of a list that was to be filled up: where they fall no more, each is 1 below the last.

    >>> falling([0.5, 0.25, 1.0, 0.5])
    [0.5, 0.25, -0.75, -1.75]
    """
    found: list[float] = []
    for score in scores:
        found.append(found[-1] - 1.0 if found and score >= found[-1] else score)
    return found


def _latest_liked(profiles: Profiles) -> int:
    liked = profiles.item[profiles.weight > 0]
    return int(liked[0]) if len(liked) else MISSING


def _similar(item: int, call: Call) -> Recommendations:
    """Return what is like an item, ordered by how much and by the user's taste; then what the user likes otherwise."""
    options = call.options
    items, scores, sources = _alike(call.model, item, options.k, _free(call, options))
    reason: str | None = NO_HISTORY
    traces: tuple[Trace, ...] = ()
    if len(items) and _latest_liked(call.profiles) != MISSING:
        found = call.feed(replace(options, candidates=items, k=len(items), fresh_share=0.0, diversity=0.0))
        scores, traces, reason = scores + _places(items, found.items[0]), found.traces, found.fallback_reason[0]
    order = np.argsort(-scores, kind="stable")[: options.k]
    best = Recommendations(
        items=items[order][None],
        scores=scores[order].astype(np.float32)[None],
        sources=sources[order][None],
        because=np.full((1, len(order)), item, dtype=np.int32),
        fallback_reason=(reason,),
        traces=traces,
    )
    missing = options.k - len(order)
    return best if not missing else _joined(best, call.feed(_others(options, items[order], missing)))


def _alike(
    model: Model, item: int, k: int, free: Mask
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.int8]]:
    """Return items like one, ascending, the sums of their reciprocal ranks, and what ranks each best."""
    found = [model.similar(item, min(2 * k, NEAREST), free, by, soon=True)[0] for by in _SOURCES]
    items = np.unique(np.concatenate(found))
    places = np.array([_places(items, one) for one in found])
    names = np.array([model.source_names.index(name) for name in _SOURCES.values()], dtype=np.int8)
    return items, places.sum(axis=0), names[places.argmax(axis=0)]


def _places(items: npt.NDArray[np.int32], order: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Return the reciprocal rank in an order of each of some items, which ascend and hold all of it; 0 without one."""
    found = np.zeros(len(items))
    known = order[order != MISSING]
    found[np.searchsorted(items, known)] = 1.0 / (FUSION_CONSTANT + np.arange(1, len(known) + 1))
    return found


def _free(call: Call, options: Options) -> Mask:
    """Return which items may come back, bool (n_items,)."""
    free = np.ones(len(call.model.items), dtype=np.bool_) if options.eligible is None else options.eligible.copy()
    if options.candidates is not None:
        free &= np.isin(np.arange(len(free)), options.candidates)
    free[options.exclude] = False
    if not options.include_seen:
        free[call.profiles.seen(0)] = False
    return free


def _others(options: Options, items: npt.NDArray[np.int32], k: int) -> Options:
    """Return options for k items more than those that are found already; what fills a list up is not drawn."""
    return replace(options, k=k, fresh_draw=0.0, exclude=np.concatenate((options.exclude, items)))


def _joined(best: Recommendations, more: Recommendations) -> Recommendations:
    """Return one list of two, in which the scores of the second go on below those of the first."""
    top, floor = np.nanmax(more.scores, initial=-np.inf), best.scores.min(initial=1.0)
    below = more.scores - (top if np.isfinite(top) else 0.0) + floor - 1.0
    return Recommendations(
        items=np.concatenate((best.items, more.items), axis=1),
        scores=np.concatenate((best.scores, below), axis=1),
        sources=np.concatenate((best.sources, more.sources), axis=1),
        because=np.concatenate((best.because, more.because), axis=1),
        fallback_reason=more.fallback_reason,
        traces=best.traces,
    )
