"""The way of one request for recommendations, step by step, each in its time.

Profile, rules, encode, retrieve, features, rank, explain, impression; what is not there in time is left out and said.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson

from features.contracts.errors import UnavailableError
from features.contracts.profiles import HISTORY_LIMIT, Options, UserHistory
from features.contracts.statistics import ItemStatistics
from serving import fallback, kinds
from serving.answers import Answers, Wanted
from serving.asks import Ask, Mixing
from serving.clock import Clock
from serving.deadline import Deadline, LateError
from serving.digests import Digests
from serving.explain import list_items
from serving.guard import Guard
from serving.impressions import Impressions, impression_of
from serving.kept import Basis, Made
from serving.listed import Listed
from serving.live import Current, LiveModel
from serving.metrics import Metrics
from serving.popular import PopularItems
from serving.problems import unavailable
from serving.profile import merge_history, moment_of
from serving.rules import allowed_items, excluded_ids, options_of, with_seen_by
from serving.seams import Store
from training.bundle.result import Recommendations

DEADLINE_S: Final = 0.15
ANONYMOUS: Final = ""
"""Stands for the user id inside the recommender where a request has none."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a list is computed from: taken once, so that nothing changes on the way."""

    live: LiveModel
    history: UserHistory
    statistics: ItemStatistics
    as_of_us: int
    options: Options
    wish: kinds.Wish


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in its wire form, and its entity tag."""

    body: dict[str, Any]
    etag: str


class Pipeline:
    """Answers requests from the current bundle, and from less where something is away.

    Parameters
    ----------
    store, guard
        Postgres, and what keeps a dead Postgres from holding up requests.
    current
        The served version; a request keeps the one that it started with.
    impressions
        Takes what was shown.
    executor
        Threads for the recommender, so that the event loop stays free.
    answers
        Lists that may be given again.
    mixing
        What lists hold beside the best.
    deadline_s
        How long an answer may take where the request does not say.
    """

    def __init__(
        self,
        *,
        store: Store,
        guard: Guard,
        current: Current,
        impressions: Impressions,
        metrics: Metrics,
        executor: Executor,
        clock: Clock,
        answers: Answers,
        mixing: Mixing = Mixing(),  # noqa: B008  # frozen
        deadline_s: float = DEADLINE_S,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._store = store
        self._guard = guard
        self._popular = PopularItems(store, guard)
        self._current = current
        self._impressions = impressions
        self._metrics = metrics
        self._executor = executor
        self._clock = clock
        self._answers = answers
        self._digests = Digests(self._read_digests)
        self._mixing = mixing
        self.deadline_s = deadline_s
        self._new_id = new_id

    async def recommend(self, ask: Ask) -> Reply:
        """Return the answer.

        Raises
        ------
        ProblemError
            503, if there is neither a bundle nor Postgres.
        """
        deadline, now_us = Deadline(ask.deadline_s or self.deadline_s), self._clock()
        live = self._current.live
        listed = await (
            self._without_model(ask, deadline, now_us)
            if live is None
            else self._with_model(ask, live, deadline, now_us)
        )
        answer: dict[str, Any] = {
            "user_id": ask.user_id,
            "recommendation_id": self._new_id(),
            "model_version": listed.model_version,
            "items": orjson.Fragment(listed.items),
            "degraded": listed.degraded,
            "fallback_reason": listed.fallback_reason,
        }
        if ask.experiment_id is not None:
            answer["experiment_id"] = ask.experiment_id
        if listed.explanation is not None:
            answer["explanation"] = listed.explanation
        self._metrics.listed(listed.degraded, listed.fallback_reason)
        self._show(ask, listed, answer["recommendation_id"], now_us)
        deadline.lap("impression")
        self._metrics.show_steps(deadline.took_s)
        answer["took_ms"] = round(deadline.spent_s * 1000, 3)
        return Reply(answer, listed.etag)

    async def _with_model(self, ask: Ask, live: LiveModel, deadline: Deadline, now_us: int) -> Listed:
        key = self._answers.key_of(ask)
        wanted = None if key is None else Wanted(key, Basis.of(ask, live, now_us), live.kept)
        made = None if wanted is None else live.kept.find(wanted.key, wanted.now)
        if made is not None and await self._same_history(ask.user_id, made, deadline):
            return self._answers.reused(made)
        limit = live.model.manifest.history_limit
        stored, missing = await self._stored_history(ask.user_id, limit, deadline)
        history = with_seen_by(merge_history(stored, ask.history, now_us, limit), ask.seen_actions)
        deadline.lap("profile")
        inputs = _inputs(ask, live, history, now_us, self._mixing)
        deadline.lap("rules")
        make = partial(self._make, ask, inputs, missing, deadline)
        if wanted is None or missing is not None:
            listed, _ = await make()
            return listed
        try:
            return await self._answers.once(wanted, stored.digest, deadline, make)
        except LateError:
            listed, _ = self._list(ask, inputs, _popular(inputs), (missing, fallback.LIST_LATE))
            return listed

    async def _same_history(self, user_id: str | None, made: Made, deadline: Deadline) -> bool:
        """Return whether a user's history is the one that a list was made from."""
        if user_id is None:
            return True
        try:
            digest = await deadline.wait_for("profile", partial(self._digests.of, user_id))
        except (UnavailableError, LateError):
            return False
        deadline.lap("unchanged")
        return digest == made.digest

    async def _read_digests(self, user_ids: Sequence[str]) -> Mapping[str, int | None]:
        live = self._current.live
        limit = HISTORY_LIMIT if live is None else live.model.manifest.history_limit
        return await self._guard.call(partial(self._store.history_digests, user_ids, limit))

    async def _make(
        self, ask: Ask, inputs: Inputs, missing: str | None, deadline: Deadline
    ) -> tuple[Listed, Basis | None]:
        """Return a list from its inputs, and what it was made from."""
        late = None
        try:
            ranked = await deadline.in_thread("rank", self._executor, partial(_ranked, inputs, ask.explain))
        except LateError:
            ranked, late = _popular(inputs), fallback.LIST_LATE
            deadline.lap("popular")
        made = self._list(ask, inputs, ranked, (missing, late))
        deadline.lap("explain")
        return made

    def _list(
        self, ask: Ask, inputs: Inputs, ranked: Recommendations | None, reasons: Sequence[str | None]
    ) -> tuple[Listed, Basis | None]:
        """Return a list in its wire form, and what it was made from; None where more went into it than that tells."""
        live = inputs.live
        words = kinds.WORDS[inputs.wish.kind]
        items = [] if ranked is None else list_items(live, ranked, explain=ask.explain, words=words)
        had = () if inputs.options.include_seen else inputs.history.seen_item_ids
        full = kinds.with_catalogue(items, ask, had, self._current.states, inputs.as_of_us)
        own = None if ranked is None else ranked.fallback_reason[0]
        reasons = (*reasons, *_missing_state(live), inputs.wish.unknown, own)
        listed = Listed.of(full, live.version, reasons, _made_from(inputs) if ask.explain else None)
        if full is not items or len(items) < ask.k:
            return listed, None
        return listed, Basis.of(ask, live, inputs.as_of_us).with_told(live, ranked)

    async def _stored_history(
        self, user_id: str | None, limit: int, deadline: Deadline
    ) -> tuple[UserHistory, str | None]:
        """Return what Postgres knows of a user, or an empty history and the reason."""
        if user_id is None:
            return UserHistory(ANONYMOUS), None
        try:
            read = partial(self._guard.call, partial(self._store.history, user_id, limit))
            return await deadline.wait_for("profile", read), None
        except UnavailableError:
            return UserHistory(user_id), fallback.PROFILE_UNAVAILABLE
        except LateError:
            return UserHistory(user_id), fallback.PROFILE_LATE

    async def _without_model(self, ask: Ask, deadline: Deadline, now_us: int) -> Listed:
        """Return what is popular among what the request allows, as far as the states of items tell."""
        stored, missing = await self._stored_history(ask.user_id, HISTORY_LIMIT, deadline)
        history = with_seen_by(merge_history(stored, ask.history, now_us, HISTORY_LIMIT), ask.seen_actions)
        had, states = () if ask.include_seen else history.seen_item_ids, self._current.states
        deadline.lap("profile")
        popular: Sequence[str] | None = None
        with suppress(UnavailableError, LateError):
            popular = await deadline.wait_for("rank", self._popular.best)
        if popular is None and not states.loaded:
            raise unavailable("there is no model yet, and the event store is away; try again soon")
        deadline.lap("popular")
        allowed = allowed_items(popular or (), ask, states, now_us)
        items = fallback.popular_list(allowed, {*excluded_ids(ask), *had}, ask.k)
        items = kinds.with_catalogue(items, ask, had, states, now_us)
        return Listed.of(items, None, (fallback.NO_MODEL, missing))

    def _show(self, ask: Ask, listed: Listed, recommendation_id: str, now_us: int) -> None:
        """Hand in what is shown; an anonymous list has no one to belong to, and an empty one shows nothing."""
        if ask.user_id is None or not listed.shown:
            return
        self._impressions.offer(
            impression_of(ask, listed, recommendation_id=recommendation_id, event_id=self._new_id(), as_of_us=now_us)
        )


def _ranked(inputs: Inputs, explain: bool, deadline: Deadline) -> Recommendations | None:  # noqa: FBT001  # of a partial
    """Return the ranked list of one user, None where no candidate is left; runs in a thread.

    Raises
    ------
    LateError
        If the thread was not free in time.
    """
    model, options = inputs.live.model, inputs.options
    if options.candidates is not None and not options.candidates.size:
        return None
    if not deadline.lap("begin"):
        raise LateError("begin: no thread was free in time")
    profiles = model.encode([inputs.history])
    deadline.lap("encode")
    call = kinds.Call(model, profiles, inputs.statistics, inputs.as_of_us, options, explain, deadline.lap)
    ranked = kinds.ranked(inputs.wish, call)
    deadline.lap("order")
    return ranked


def _popular(inputs: Inputs) -> Recommendations:
    """Return what is popular among what the request allows; a fraction of a millisecond."""
    model = inputs.live.model
    return model.popular(model.encode([inputs.history]), inputs.statistics, inputs.options)


def _inputs(ask: Ask, live: LiveModel, history: UserHistory, now_us: int, mixing: Mixing) -> Inputs:
    statistics = live.statistics.current
    as_of_us = moment_of(history, statistics.closed_at_us, now_us)
    return Inputs(
        live, history, statistics, as_of_us, options_of(ask, live, as_of_us, mixing), kinds.wish_of(ask, live)
    )


def _missing_state(live: LiveModel) -> tuple[str | None, ...]:
    """Return why live state could not be used, where it never came."""
    return (
        None if live.items.loaded else fallback.ITEM_STATES_UNAVAILABLE,
        None if live.statistics.loaded else fallback.STATISTICS_UNAVAILABLE,
    )


def _made_from(inputs: Inputs) -> dict[str, Any]:
    """Return what identifies the inputs of an answer: enough to compute it again."""
    return {
        "as_of_us": inputs.as_of_us,
        "statistics_closed_at_us": inputs.statistics.closed_at_us,
        "bundle_digest": inputs.live.model.digest,
        "spec_hash": inputs.live.model.manifest.spec_hash,
        "history_event_ids": list(inputs.history.event_ids),
    }
