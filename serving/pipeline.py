"""The way of one request for recommendations, step by step, each in its time.

Profile, rules, encode, retrieve, features, rank, explain, impression; what is not there in time is left out and said.
"""

import uuid
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from features.contracts.errors import UnavailableError
from features.contracts.profiles import HISTORY_LIMIT, Options, UserHistory
from features.contracts.statistics import ItemStatistics
from serving import fallback
from serving.asks import Ask, Mixing
from serving.clock import Clock
from serving.contributions import contributions_of
from serving.deadline import Deadline, LateError
from serving.explain import list_items
from serving.guard import Guard
from serving.impressions import Impressions, impression_of
from serving.live import Current, LiveModel
from serving.metrics import Metrics
from serving.popular import PopularItems
from serving.problems import unavailable
from serving.profile import merge_history, moment_of
from serving.recording import Made, Records, Shown
from serving.rules import allowed_items, options_of
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


@dataclass(frozen=True, slots=True)
class Listed:
    """A list in its wire form, why it is no better, and what it was made from, for those who ask."""

    items: list[dict[str, Any]]
    model_version: str | None
    reasons: tuple[str | None, ...]
    explanation: dict[str, Any] | None = None
    made: Made | None = None


class Pipeline:
    """Answers requests from the current bundle, and from less where something is away.

    Parameters
    ----------
    store, guard
        Postgres, and what keeps a dead Postgres from holding up requests.
    current
        The served version; a request keeps the one that it started with.
    impressions, records
        Take what was shown, and of the requests that are recorded also how it came about.
    executor, explainer
        Threads for the recommender, so that the event loop stays free; a thread of its own for explanations, which take
        longer than lists and must not hold them up.
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
        records: Records,
        metrics: Metrics,
        executor: Executor,
        explainer: Executor,
        clock: Clock,
        mixing: Mixing = Mixing(),  # noqa: B008  # frozen
        deadline_s: float = DEADLINE_S,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._store = store
        self._guard = guard
        self._popular = PopularItems(store, guard)
        self._current = current
        self._impressions = impressions
        self._records = records
        self._metrics = metrics
        self._executor = executor
        self._explainer = explainer
        self._clock = clock
        self._mixing = mixing
        self.deadline_s = deadline_s
        self._new_id = new_id

    async def recommend(self, ask: Ask) -> dict[str, Any]:
        """Return the answer in its wire form.

        Raises
        ------
        ProblemError
            503, if there is neither a bundle nor Postgres.
        """
        deadline, now_us = Deadline(ask.deadline_s or self.deadline_s), self._clock()
        live, recommendation_id = self._current.live, self._new_id()
        recorded = self._records.wants(recommendation_id)
        listed = await (
            self._without_model(ask, deadline, now_us)
            if live is None
            else self._with_model(ask, live, deadline, now_us, trace=recorded or ask.explain)
        )
        degraded, reason = fallback.verdict(listed.reasons)
        answer: dict[str, Any] = {
            "user_id": ask.user_id,
            "recommendation_id": recommendation_id,
            "model_version": listed.model_version,
            "items": listed.items,
            "degraded": degraded,
            "fallback_reason": reason,
        }
        if ask.experiment_id is not None:
            answer["experiment_id"] = ask.experiment_id
        if listed.explanation is not None:
            answer["explanation"] = listed.explanation
        self._metrics.recommendations.labels(str(degraded).lower(), reason or "").inc()
        self._show(ask, answer, now_us)
        deadline.lap("impression")
        if recorded:
            lacking = [reason for reason in listed.reasons if reason is not None]
            self._records.offer(Shown(ask, answer, lacking, now_us, deadline.took_s, listed.made))
        self._metrics.show_steps(deadline.took_s)
        answer["took_ms"] = round(deadline.spent_s * 1000, 3)
        return answer

    async def _with_model(self, ask: Ask, live: LiveModel, deadline: Deadline, now_us: int, *, trace: bool) -> Listed:
        limit = live.model.manifest.history_limit
        stored, missing = await self._stored_history(ask.user_id, limit, deadline)
        history = merge_history(stored, ask.history, now_us, limit)
        deadline.lap("profile")
        inputs = _inputs(ask, live, history, now_us, self._mixing)
        deadline.lap("rules")
        late = None
        try:
            ranked = await deadline.in_thread("rank", self._executor, partial(_ranked, inputs, trace))
        except LateError:
            ranked, late = _popular(inputs), fallback.LIST_LATE
            deadline.lap("popular")
        why = await contributions_of(live, ranked, deadline, self._explainer) if ask.explain else {}
        items = [] if ranked is None else list_items(live, ranked, explain=ask.explain, contributions=why)
        deadline.lap("explain")
        reasons = (missing, late, *_missing_state(live), None if ranked is None else ranked.fallback_reason[0])
        made = Made(live, inputs.history, inputs.statistics, inputs.as_of_us, inputs.options, ranked)
        return Listed(items, live.version, reasons, _made_from(inputs) if ask.explain else None, made)

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
        history, missing = await self._stored_history(ask.user_id, HISTORY_LIMIT, deadline)
        deadline.lap("profile")
        seen = () if ask.include_seen else (*history.seen_item_ids, *(event.item_id for event in ask.history))
        try:
            popular = await deadline.wait_for("rank", self._popular.best)
        except (UnavailableError, LateError):
            raise unavailable("there is no model yet, and the event store is away; try again soon") from None
        deadline.lap("popular")
        allowed = allowed_items(popular, ask, self._current.states, now_us)
        items = fallback.popular_list(allowed, {*ask.exclude, *seen}, ask.k)
        return Listed(items, None, (fallback.NO_MODEL, missing))

    def _show(self, ask: Ask, answer: dict[str, Any], now_us: int) -> None:
        """Hand in what is shown; an anonymous list has no one to belong to, and an empty one shows nothing."""
        if ask.user_id is None or not answer["items"]:
            return
        self._impressions.offer(
            impression_of(
                answer,
                event_id=self._new_id(),
                as_of_us=now_us,
                experiment_id=ask.experiment_id,
                context=dict(ask.context),
            )
        )


def _ranked(inputs: Inputs, trace: bool, deadline: Deadline) -> Recommendations | None:  # noqa: FBT001  # of a partial
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
    ranked = model.recommend(profiles, inputs.statistics, inputs.as_of_us, options, trace=trace, lap=deadline.lap)
    deadline.lap("order")
    return ranked


def _popular(inputs: Inputs) -> Recommendations:
    """Return what is popular among what the request allows; a fraction of a millisecond."""
    model = inputs.live.model
    return model.popular(model.encode([inputs.history]), inputs.statistics, inputs.options)


def _inputs(ask: Ask, live: LiveModel, history: UserHistory, now_us: int, mixing: Mixing) -> Inputs:
    statistics = live.statistics.current
    as_of_us = moment_of(history, statistics.closed_at_us, now_us)
    return Inputs(live, history, statistics, as_of_us, options_of(ask, live, as_of_us, mixing))


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
