"""How a list is made: from the current bundle, and from less where something is away or late."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Any, Final

from features.contracts.errors import UnavailableError
from features.contracts.profiles import HISTORY_LIMIT, UserHistory
from serving import fallback, kinds
from serving.asks import Ask, Mixing
from serving.contributions import contributions_of
from serving.deadline import Deadline, LateError
from serving.explain import list_items
from serving.guard import Guard
from serving.inputs import Inputs
from serving.kept import Basis
from serving.listed import Listed
from serving.live import Current, LiveModel
from serving.popular import PopularItems
from serving.problems import unavailable
from serving.profile import merge_history, moment_of
from serving.recording import Made
from serving.rules import allowed_items, excluded_ids, options_of, with_seen_by
from serving.seams import Store
from serving.turns import Turns
from training.bundle.result import Recommendations

ANONYMOUS: Final = ""
"""Stands for the user id inside the recommender where a request has none."""


class Lister:
    """Makes lists.

    Parameters
    ----------
    store, guard
        Postgres, and what keeps a dead Postgres from holding up requests.
    current
        Where item states are.
    turns
        In which the recommender is called.
    explainer
        A thread for explanations, which take longer than lists and must not hold them up.
    mixing
        What lists hold beside the best.
    """

    def __init__(
        self,
        *,
        store: Store,
        guard: Guard,
        current: Current,
        turns: Turns,
        explainer: Executor,
        mixing: Mixing = Mixing(),  # noqa: B008  # frozen
    ) -> None:
        self._store = store
        self._guard = guard
        self._popular = PopularItems(store, guard)
        self._current = current
        self._turns = turns
        self._explainer = explainer
        self._mixing = mixing

    async def read_digests(self, user_ids: Sequence[str]) -> Mapping[str, int | None]:
        """Return what tells whether users' histories are what they were."""
        live = self._current.live
        limit = HISTORY_LIMIT if live is None else live.model.manifest.history_limit
        return await self._guard.call(partial(self._store.history_digests, user_ids, limit))

    async def inputs(
        self, ask: Ask, live: LiveModel, now_us: int, deadline: Deadline, *, recorded: bool, seed: str
    ) -> tuple[Inputs, int | None]:
        """Return what a request's list is computed from, and the digest of the stored history.

        `seed` is that of what is drawn by lot.
        """
        limit = live.model.manifest.history_limit
        stored, missing = await self._stored_history(ask.user_id, limit, deadline)
        history = with_seen_by(merge_history(stored, ask.history, now_us, limit), ask.seen_actions)
        deadline.lap("profile")
        statistics = live.statistics.current
        as_of_us = moment_of(history, statistics.closed_at_us, now_us)
        options, wish = options_of(ask, live, as_of_us, self._mixing, seed), kinds.wish_of(ask, live)
        # Of this moment, as the rest: by the time that the list is made there may be other statistics and item states.
        basis = Basis.of(ask, live, as_of_us)
        inputs = Inputs(live, history, statistics, as_of_us, options, wish, basis, missing, _unread(live), recorded)
        deadline.lap("rules")
        return inputs, stored.digest

    async def make(self, ask: Ask, inputs: Inputs, deadline: Deadline) -> tuple[Listed, Basis | None]:
        """Return a list from its inputs, and what it was made from; None where more went into it than that tells."""
        late, trace = None, inputs.recorded or ask.explain
        try:
            ranked = await self._turns.take(partial(_ranked, inputs, trace, deadline))
        except LateError:
            ranked, late = _popular(inputs), fallback.LIST_LATE
            deadline.lap("popular")
        live = inputs.live
        why = await contributions_of(live, ranked, deadline, self._explainer) if ask.explain else {}
        kind = inputs.wish.kind
        order = None if late else kinds.ORDERS.get(kind)
        how: dict[str, Any] = {"words": kinds.WORDS[kind], "contributions": why, "order": order}
        items = [] if ranked is None else list_items(live, ranked, explain=ask.explain, in_full=ask.tells_all, **how)
        made = self._listed(ask, inputs, ranked, items, late)
        deadline.lap("explain")
        return made

    def late(self, ask: Ask, inputs: Inputs) -> Listed:
        """Return what there is always time for."""
        ranked = _popular(inputs)
        items = list_items(inputs.live, ranked, explain=ask.explain, in_full=ask.tells_all)
        return self._listed(ask, inputs, ranked, items, fallback.LIST_LATE)[0]

    async def without_model(self, ask: Ask, deadline: Deadline, now_us: int) -> Listed:
        """Return what is popular among what the request allows, as far as the states of items tell.

        Raises
        ------
        ProblemError
            503, if Postgres is away and was never there.
        """
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
        leave_out = {*excluded_ids(ask), *had}
        items = fallback.popular_list(allowed, leave_out, ask.k, states.title, explain=ask.explain)
        items = kinds.with_catalogue(items, ask, had, states, now_us)
        return Listed.of(items, None, (fallback.NO_MODEL, missing))

    async def _stored_history(
        self, user_id: str | None, limit: int, deadline: Deadline
    ) -> tuple[UserHistory, str | None]:
        """Return what Postgres knows of a user, or an empty history and the reason."""
        if user_id is None:
            return UserHistory(ANONYMOUS), None
        try:
            read = partial(self._guard.begin, partial(self._store.history, user_id, limit))
            return await deadline.wait_for("profile", read), None
        except UnavailableError:
            return UserHistory(user_id), fallback.PROFILE_UNAVAILABLE
        except LateError:
            return UserHistory(user_id), fallback.PROFILE_LATE

    def _listed(
        self, ask: Ask, inputs: Inputs, ranked: Recommendations | None, items: list[dict[str, Any]], late: str | None
    ) -> tuple[Listed, Basis | None]:
        live, had = inputs.live, () if inputs.options.include_seen else inputs.history.seen_item_ids
        full = kinds.with_catalogue(items, ask, had, self._current.states, inputs.as_of_us)
        own = None if ranked is None else ranked.fallback_reason[0]
        reasons = (inputs.missing, late, *inputs.unread, inputs.wish.unknown, own)
        listed = Listed.of(
            full,
            live.version,
            reasons,
            _made_from(inputs, in_full=ask.tells_all) if ask.explain else None,
            Made(inputs, ranked) if inputs.recorded else None,
        )
        drawn = ranked is not None and ranked.propensity is not None
        if full is not items or len(items) < ask.k or drawn:  # the lot is drawn anew for each list
            return listed, None
        return listed, inputs.basis.with_told(live, ranked)


def _ranked(inputs: Inputs, trace: bool, deadline: Deadline) -> Recommendations | None:  # noqa: FBT001  # of a partial
    """Return the ranked list of one user, None where no candidate is left.

    Raises
    ------
    LateError
        If its turn did not come in time.
    """
    if not deadline.lap("begin"):
        raise LateError("begin: its turn did not come in time")
    model, options = inputs.live.model, inputs.options
    if options.candidates is not None and not options.candidates.size:
        return None
    profiles = model.encode([inputs.history])
    deadline.lap("encode")
    call = kinds.Call(model, profiles, inputs.statistics, inputs.as_of_us, options, trace, deadline.lap)
    ranked = kinds.ranked(inputs.wish, call)
    deadline.lap("order")
    return ranked


def _popular(inputs: Inputs) -> Recommendations:
    """Return what is popular among what the request allows; a fraction of a millisecond."""
    model = inputs.live.model
    return model.popular(model.encode([inputs.history]), inputs.statistics, inputs.options)


def _unread(live: LiveModel) -> tuple[str, ...]:
    """Return which live state cannot be used now, as reasons."""
    reasons = () if live.items.loaded else (fallback.ITEM_STATES_UNAVAILABLE,)
    if live.statistics.other_weights:
        return (*reasons, fallback.STATISTICS_OF_OTHER_WEIGHTS)
    return reasons if live.statistics.loaded else (*reasons, fallback.STATISTICS_UNAVAILABLE)


def _made_from(inputs: Inputs, *, in_full: bool) -> dict[str, Any]:
    """Return what identifies the inputs of an answer: in full enough to compute it again."""
    return {
        "as_of_us": inputs.as_of_us,
        "statistics_closed_at_us": inputs.statistics.closed_at_us,
        "bundle_digest": inputs.live.model.digest,
        "spec_hash": inputs.live.model.manifest.spec_hash,
        "history_event_ids": list(inputs.history.event_ids) if in_full else None,
    }
