"""A served list computed again from what was recorded of it.

Replayed is all that decides a list: the events of the history are read from Postgres by their ids, the request's own
come from the request, item statistics are those of the recorded bucket edge, and the bundle is the one of the recorded
digest; retrieval, features, ranking and mixing run anew. Three things are taken from the record as they were: the
moment, whether the ranker or the whole list was late, and which items could come back (their state, which has no
versions, the request's filters and what the user had seen are one mask). Titles and reasons are not compared.

Lists of other kinds than the feed are made anew as their kind is; what came straight from the catalogue is left out.

Items that arrived since the bundle was made are known to the served model only, in the order of their arrival: after a
restart they may be in another, or their texts have changed, and then they are left out, and said to be. What arrived
after a list was served is taken out of the model again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts.errors import MarqueeError
from features.contracts.ids import MISSING
from features.contracts.profiles import Options, UserHistory
from features.contracts.statistics import ItemStatistics
from features.contracts.weights import ActionWeights
from features.db.connection import Connection
from features.served import Origin, ServedList, find, statistics_at, stored_history
from serving import fallback, kinds
from serving.asks import InlineEvent
from serving.bundle_cache import BundleCache
from serving.live_statistics import LiveStatistics
from serving.profile import merge_history
from serving.recording import arrivals_digest, is_recorded
from serving.replay_outcome import Again, Outcome, compare
from serving.seams import Model
from training.bundle.laps import Lap, unhurried
from training.bundle.read import open_bundle
from training.bundle.result import RANKER_LATE, Recommendations

_OF_ITEMS: Final = ("item_ids", "scores", "sources", "reasons")

OpenModel = Callable[[str], Model | None]
"""Gives the bundle of a digest, grown or not, None where it is not at hand."""


class NotRecordedError(MarqueeError):
    """There is no record of a list."""


class NotReplayableError(MarqueeError):
    """A list is recorded, but cannot be computed again."""


@dataclass(frozen=True, slots=True)
class _Notes:
    """What is not as it was, as far as it is known beforehand."""

    said: list[str]

    def say(self, note: str) -> None:
        self.said.append(note)


def recorded(connection: Connection, recommendation_id: str, share: float) -> ServedList:
    """Return a list as it was served.

    Parameters
    ----------
    share
        Of all requests, how many are recorded; for the message.

    Raises
    ------
    NotRecordedError
        If it was not recorded, or the record is gone.
    """
    served = find(connection, recommendation_id)
    if served is None:
        raise NotRecordedError(
            f"list {recommendation_id!r:.80} is not recorded. {why_missing(recommendation_id, share)}"
        )
    return served


def why_missing(recommendation_id: str, share: float) -> str:
    """Return what may be the reason why a list is not recorded."""
    gone = "records go after MARQUEE_RECORD_DAYS, and with their user"
    if not is_recorded(recommendation_id, share):
        return f"Only a share of lists is: MARQUEE_RECORD_SHARE, now {share:g} (1 = all); and {gone}"
    return (
        f"By MARQUEE_RECORD_SHARE, now {share:g}, a list of this id is to be recorded: it is on its way still, or was "
        f"dropped under load or while Postgres was away (`marquee_records_total` counts these); {gone}; "
        "or no list had this id"
    )


def kept_bundle(folder: Path, digest: str) -> Model | None:
    """Return a bundle that is kept in a server's cache folder, None where it is not there or no longer whole."""
    if not folder.is_dir():
        return None
    try:
        return BundleCache(folder).open_kept(digest, open_bundle)
    except MarqueeError:
        return None


def replay(connection: Connection, served: ServedList, open_model: OpenModel) -> Outcome:
    """Return what computing a list again gives, and how it differs from what was served.

    Raises
    ------
    NotReplayableError
        If it was made without a bundle, or that bundle is not at hand.
    """
    origin = served.origin
    if origin is None:
        raise NotReplayableError(
            f"list {served.recommendation_id} was made while there was no model: it is what was popular then, and "
            "nothing was computed"
        )
    if served.request["kind"] == kinds.NEW:
        raise NotReplayableError(
            f"list {served.recommendation_id} is of the newest items: these were looked up in the catalogue as it was "
            "then, and nothing was computed"
        )
    model = open_model(origin.bundle_digest)
    if model is None:
        raise NotReplayableError(
            f"list {served.recommendation_id} was made by version {served.model_version}, whose bundle "
            f"{origin.bundle_digest} is neither served nor kept by this server; let the alias point to that version, "
            "or replay where it is kept"
        )
    notes = _Notes([])
    model = _as_it_was(origin, model, notes)
    history = _history(connection, served, model, notes)
    again = _recommended(served, origin, model, history, _statistics(connection, origin, model, notes))
    return compare(_computed(served, notes), Again(model, again, served.request["k"]), notes.said)


def _computed(served: ServedList, notes: _Notes) -> ServedList:
    """Return a served list without what came from the catalogue: items that no bundle knows."""
    own = [place for place, source in enumerate(served.sources) if source != kinds.NEW]
    if len(own) == len(served.sources):
        return served
    notes.say(f"{len(served.sources) - len(own)} items came straight from the catalogue and are left out")
    columns: dict[str, Any] = {name: [getattr(served, name)[place] for place in own] for name in _OF_ITEMS}
    return replace(served, **columns)


def _history(connection: Connection, served: ServedList, model: Model, notes: _Notes) -> UserHistory:
    """Return the history from the recorded events: what had been seen is in the mask."""
    inline = [InlineEvent(**event) for event in served.request["history"]]
    stored = stored_history(connection, served)
    history = merge_history(stored, inline, served.served_at_us, model.manifest.history_limit)
    if missing := sorted(set(served.history_event_ids) - set(history.event_ids)):
        notes.say(f"{len(missing)} events of the history are not stored any more: {', '.join(missing[:_NAMED])}")
    elif list(history.event_ids) != list(served.history_event_ids):
        notes.say("the events of the history are in another order than they were")
    return history


_NAMED: Final = 5


def _statistics(connection: Connection, origin: Origin, model: Model, notes: _Notes) -> ItemStatistics:
    if origin.own_statistics:
        return model.statistics
    live = LiveStatistics(model.items, model.statistics, ActionWeights.from_json(model.manifest.weights))
    live.apply(statistics_at(connection, origin.statistics_closed_at_us))
    if live.other_weights:
        notes.say("item statistics are computed by other action weights now: the bundle's own stand in for them")
    return live.current


def _recommended(
    served: ServedList, origin: Origin, model: Model, history: UserHistory, statistics: ItemStatistics
) -> Recommendations | None:
    allowed, profiles = origin.allowed[: len(model.items)], model.encode([history])
    options = _options(served, allowed, model)
    if fallback.LIST_LATE in served.lacking:
        return model.popular(profiles, statistics, options)
    if options.candidates is not None and not options.candidates.size:
        return None
    lap: Lap = _late if RANKER_LATE in served.lacking else unhurried
    kind, item_id = served.request["kind"], served.request["item_id"]
    wish = kinds.Wish(kind, MISSING if item_id is None else int(model.items.index_or_missing([item_id])[0]))
    call = kinds.Call(model, profiles, statistics, origin.as_of_us, options, trace=True, lap=lap)
    return kinds.ranked(wish, call)


def _late(step: str) -> bool:
    """Say that there is no time left for the ranker."""
    return step != "retrieve"


def _as_it_was(origin: Origin, model: Model, notes: _Notes) -> Model:
    """Return the model with what had arrived then and no more: what came later changes who is near whom."""
    own = model.manifest.n_items
    known, n_arrivals = len(model.items) - own, len(origin.allowed) - own
    if n_arrivals <= known and arrivals_digest(model, n_arrivals) == origin.arrivals:
        return model.with_first(n_arrivals)
    notes.say(
        f"{n_arrivals} items had arrived since the bundle was made; they are left out, as they are not known here "
        "as they were"
    )
    return model.with_first(0)


def _options(served: ServedList, allowed: npt.NDArray[np.bool_], model: Model) -> Options:
    candidates: Sequence[str] | None = served.request["candidates"]
    rows = None
    if candidates is not None:
        rows = model.items.index_or_missing(candidates)
        rows = rows[rows != MISSING]
        rows = rows[allowed[rows]]
    return Options(
        k=served.request["k"],
        eligible=allowed,
        candidates=rows,
        include_seen=True,
        diversity=served.request["diversity"],
        **served.exploration,
    )


def open_from(folder: Path, current: Callable[[], Model | None] = lambda: None) -> OpenModel:
    """Return what gives the served model where it is of the digest asked for, else a kept bundle."""
    return partial(_open, folder, current)


def _open(folder: Path, current: Callable[[], Model | None], digest: str) -> Model | None:
    model = current()
    return model if model is not None and model.digest == digest else kept_bundle(folder, digest)
