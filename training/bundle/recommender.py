"""The recommender itself: pure, batch-first; training, backtest, batch and serving all call `Recommender.recommend`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from features.contracts.errors import ContractError
from features.contracts.facts import ItemFacts
from features.contracts.ids import MISSING
from features.contracts.profiles import Options, Profiles
from features.contracts.statistics import ItemStatistics
from features.items import POPULAR, Categories, ItemView, category_shares
from features.vectorize import user_row, vectorize
from training.bundle.candidates import Candidates, align, best_sources, retrieve, with_more
from training.bundle.content import NEAR_DISLIKED, Content, nearness_to_disliked
from training.bundle.dislikes import moved_down
from training.bundle.diversity import Likeness, diversify
from training.bundle.exploration import Draw, draw_of, places_of, with_drawn, with_fresh
from training.bundle.foldin import FoldIn
from training.bundle.fresh import forget_history, merged, own_scores, placed
from training.bundle.fusion import order_scores
from training.bundle.laps import Lap, unhurried
from training.bundle.offered import SPEC, offered_columns
from training.bundle.plan import BLEND, RANKER, Plan
from training.bundle.ranker import Ranker
from training.bundle.result import NO_HISTORY, RANKER_LATE, Recommendations, Trace
from training.bundle.sources import BY_TEXT, FRESH, NOTHING, SOURCES, TRENDING, Blocked, Offer, Source, User
from training.bundle.tables import NeighbourTable

LEAST_TREND: Final = 0.5
"""An item trends where its decayed sum is worth half a liking event: one event, and one half-life after it."""

_BECAUSE_WINDOW: Final = 50
"""Latest liked events among which the cause of a recommendation is looked for."""
_NEAR_DISLIKED: Final = SPEC.names.index(NEAR_DISLIKED)
_FRESH: Final = SOURCES.index(FRESH)
_LONG_AGO_US: Final = np.iinfo(np.int64).min
_VIEWS: Final = 2
"""Statistics whose views are kept: the present ones, and those before, for requests that still have these."""


def _kept_views() -> Callable[[ItemStatistics, Categories, ItemFacts], ItemView]:
    return lru_cache(maxsize=_VIEWS)(ItemView)


@dataclass(frozen=True, eq=False)
class Recommender:
    """Everything that turns profiles into ranked lists; holds no user's data and is safe to share between threads.

    Items without a history have sources and a ranker of their own, so that the order of all others is what it would be
    without them. Once events have come, other sources may offer them too; then the better place counts.
    """

    n_items: int
    fold_in: FoldIn
    sources: tuple[Source, ...]
    tables: Mapping[str, NeighbourTable]
    categories: Categories
    facts: ItemFacts
    content: Content | None
    fresh: npt.NDArray[np.int32]
    plan: Plan
    ranker: Ranker | None
    fresh_ranker: Ranker | None = None
    # Not one for all recommenders: it would keep those alive that are served no more.
    _views: Callable[[ItemStatistics, Categories, ItemFacts], ItemView] = field(default_factory=_kept_views)

    def recommend(
        self,
        profiles: Profiles,
        statistics: ItemStatistics,
        as_of_us: int | npt.NDArray[np.int64],
        options: Options,
        *,
        trace: bool = False,
        lap: Lap = unhurried,
    ) -> Recommendations:
        """Return ranked lists of a batch of users at a moment.

        Parameters
        ----------
        profiles
            Histories of n_users users, all strictly before `as_of_us`.
        statistics
            State of the items at the bucket edge that the moment falls behind.
        as_of_us
            The moment, microseconds since 1970 UTC, for all users or for each, int64 (n_users,).
        lap
            Told of each step; where it says after `retrieve` that there is no time, the ranks of the sources order the
            known items (`RANKER_LATE`).

        Raises
        ------
        ContractError
            If a history or the statistics reach to or beyond the moment: an answer may not read its own future.
        """
        self._refuse_future(profiles, statistics, np.asarray(as_of_us))
        view = self.view(statistics)
        asks = (self._ask(profiles, user, view, options, lap) for user in range(len(profiles)))
        lists = [self._one(ask) for ask in asks]
        return _stack([entry[0] for entry in lists], [entry[1] for entry in lists] if trace else (), options.k)

    @cached_property
    def likeness(self) -> Likeness:
        """Return what tells how alike two items are."""
        return Likeness(self.fold_in.factors, self.categories, None if self.content is None else self.content.vectors)

    @cached_property
    def is_fresh(self) -> npt.NDArray[np.bool_]:
        """Return which items have no history, bool (n_items,)."""
        fresh = np.zeros(self.n_items, dtype=bool)
        fresh[self.fresh] = True
        return fresh

    def with_budgets(self, budgets: Mapping[str, int]) -> "Recommender":
        """Return the same recommender with other budgets."""
        return replace(self, plan=msgspec.structs.replace(self.plan, budgets=dict(budgets)))

    def view(self, statistics: ItemStatistics) -> ItemView:
        """Return the items as they stand in some statistics; kept while the same are asked for again."""
        return self._views(statistics, self.categories, self.facts)

    def candidates(
        self, profiles: Profiles, user: int, view: ItemView, options: Options
    ) -> tuple[Candidates, npt.NDArray[np.float32]]:
        """Return the candidates of the batch's user number `user`, and their feature rows.

        All but those that come by their texts (`fresh_candidates`).
        """
        ask = self._ask(profiles, user, view, options)
        found = self._retrieve(ask, by_text=False)
        return found, self._rows(ask, found)

    def fresh_candidates(
        self, profiles: Profiles, user: int, view: ItemView, options: Options
    ) -> tuple[Candidates, npt.NDArray[np.float32]]:
        """Return the candidates without a history, by their texts, and rows as if nobody had ever met them."""
        ask = self._ask(profiles, user, view, options)
        found = self._retrieve(ask, by_text=True)
        return found, self._rows_of_unmet(ask, found)

    def user_features(
        self, profiles: Profiles, user: int, view: ItemView
    ) -> tuple[npt.NDArray[np.float32], dict[str, float]]:
        """Return `USER_FEATURES` of the batch's user number `user`, and how their liking is spread over categories."""
        events = profiles.events(user)
        item, weight = profiles.item[events], profiles.weight[events]
        share = category_shares(item, weight, self.categories)
        found = [] if share is None else np.flatnonzero(share > 0).tolist()
        shares = {self.categories.names[place]: float(share[place]) for place in found if share is not None}
        return user_row(item, weight, profiles.at_us[events], view), shares

    def offers(
        self,
        profiles: Profiles,
        user: int,
        view: ItemView,
        options: Options,
        limit: int,
        *,
        only: Collection[str] = SOURCES,
    ) -> list[Offer]:
        """Return up to `limit` items of each source alone for the batch's user number `user`, whatever its budget.

        Sources that are not among `only` are not asked.
        """
        ask = self._ask(profiles, user, view, options)
        met = ask.blocked | ~self.is_fresh
        return [
            source.offer(ask.who, view, met if source.name in BY_TEXT else ask.blocked, limit)
            if source.name in only
            else NOTHING
            for source in self.sources
        ]

    def _refuse_future(self, profiles: Profiles, statistics: ItemStatistics, as_of_us: npt.NDArray[np.int64]) -> None:
        if not len(profiles):
            return
        if statistics.closed_at_us > as_of_us.min():
            raise ContractError(
                f"item statistics closed at {statistics.closed_at_us} us are newer than the moment "
                f"{as_of_us.min()} us; take those of a bucket that closed at or before it"
            )
        if profiles.at_us.max(initial=_LONG_AGO_US) < as_of_us.min():
            return
        as_of_us = np.broadcast_to(as_of_us, len(profiles))
        owner = np.repeat(np.arange(len(profiles)), np.diff(profiles.offsets))
        late = profiles.at_us >= as_of_us[owner]
        if late.any():
            first = int(np.flatnonzero(late)[0])
            raise ContractError(
                f"history of user {profiles.user_ids[owner[first]]!r} holds an event at {profiles.at_us[first]} us, "
                f"which is not before the moment {as_of_us[owner[first]]} us; cut histories before recommending"
            )

    def popular(self, profiles: Profiles, statistics: ItemStatistics, options: Options) -> Recommendations:
        """Return what is popular with everyone and may come back: what there is always time for."""
        view, every = self.view(statistics), self._all_blocked(profiles, options)
        return _stack([self._fill(_NOTHING, view, blocked, options.k) for blocked in every], (), options.k)

    def trending(self, profiles: Profiles, statistics: ItemStatistics, options: Options) -> Recommendations:
        """Return what trends with everyone and may come back: the latest trends first, then what is popular."""
        view, every = self.view(statistics), self._all_blocked(profiles, options)
        lists = [(self._trends(view, blocked, options.k), blocked) for blocked in every]
        return _stack([self._fill(trends, view, blocked, options.k) for trends, blocked in lists], (), options.k)

    def _trends(self, view: ItemView, blocked: Blocked, k: int) -> "_List":
        blocked = blocked.copy()
        items, sources = [_NOTHING.items], [_NOTHING.sources]
        for name in TRENDING:
            place = SOURCES.index(name)
            offer = self.sources[place].offer(_NOBODY, view, blocked, k - sum(map(len, items)))
            found = offer.items[offer.scores >= LEAST_TREND]
            blocked[found] = True
            items.append(found)
            sources.append(np.full(len(found), place, dtype=np.int8))
        size = sum(map(len, items))
        scores = np.reciprocal(np.arange(1, size + 1, dtype=np.float32))
        return _List(
            np.concatenate(items), scores, np.concatenate(sources), np.full(size, MISSING, dtype=np.int32), None
        )

    def _all_blocked(self, profiles: Profiles, options: Options) -> list[Blocked]:
        return [self.blocked(profiles, user, options) for user in range(len(profiles))]

    def _one(self, ask: "_Ask") -> tuple["_List", Trace]:
        options, cold = ask.options, not (ask.who.weight > 0).any()
        found, reason = self._found(ask, cold=cold)
        order, propensity = self._places(ask, found, None if reason == RANKER_LATE else ask.draw)
        items, picked = found.candidates[order], found.scores[order].astype(np.float32)
        sources = best_sources(found.ranks[order])
        if propensity is not None:
            sources[~np.isnan(propensity) & (sources == MISSING)] = _FRESH
        ranked = _List(items, picked, sources, self._because(ask.who, items), reason, propensity)
        if options.fill and len(items) < options.k:
            ranked = self._fill(ranked, ask.view, ask.blocked, options.k)
        return ranked, found

    def _found(self, ask: "_Ask", *, cold: bool) -> tuple[Trace, str | None]:
        """Return the candidates of both kinds with their scores, and why the list is no better."""
        found = self._retrieve_known(ask)
        in_time = ask.lap("retrieve")
        order_by = self.plan.cold_source if cold else self.plan.order_by
        if order_by == RANKER and not in_time:
            return self._ordered(ask, found, BLEND), RANKER_LATE
        known = self._ordered(ask, found, order_by)
        every = replace(known, scores=self._moved_down(ask, known.candidates, known.scores, known.rows))
        if self._offers_fresh:
            every = merged(every, self._fresh(ask, known.scores, order_by, cold=cold))
        return every, NO_HISTORY if cold else None

    def _moved_down(
        self,
        ask: "_Ask",
        items: npt.NDArray[np.int32],
        scores: npt.NDArray[np.float64],
        rows: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float64]:
        """Return scores of candidates, those lower whose texts read like what the user disliked, as their rows tell.

        What rankers learn of dislikes is that people dislike what is nearly to their taste. Who says so wants less of
        it all the same.
        """
        if self.content is None or not self._minds(ask.who):
            return scores
        if len(rows):
            near: npt.NDArray[np.float32] | None = np.nan_to_num(rows[:, _NEAR_DISLIKED])
        else:
            near = nearness_to_disliked(self.content, ask.who, items)
        return scores if near is None else moved_down(scores, near, self.plan.dislike)

    def _minds(self, user: User) -> bool:
        """Return whether there is a dislike, and texts by which it may tell of other items."""
        return self.plan.dislike > 0 and self.content is not None and bool((user.weight < 0).any())

    def _retrieve_known(self, ask: "_Ask") -> Candidates:
        """Return what all sources but those by texts propose; of a caller's own candidates, all with a history."""
        found = self._retrieve(ask, by_text=False)
        if ask.options.candidates is None or not self._offers_fresh:
            return found
        # An item that had no history has one by now if another source knows it.
        known = ~self.is_fresh[found.items] | ~np.isnan(found.ranks).all(axis=1)
        return Candidates(found.items[known], found.ranks[known], found.relative[known])

    def _ordered(self, ask: "_Ask", found: Candidates, order_by: str) -> Trace:
        """Return candidates with a history as ranker, source or ranks score them."""
        rows = self._rows(ask, found) if order_by == RANKER else _NO_ROWS
        scores, met = self._scores(ask, found, rows, order_by), np.zeros(len(found.items), dtype=bool)
        return Trace(found.items, rows, found.ranks, scores, met, order_by)

    def _fresh(self, ask: "_Ask", known: npt.NDArray[np.float64], order_by: str, *, cold: bool) -> Trace:
        """Return what sources and ranker of items without a history say; `known` are the scores of the others."""
        found, how = self._retrieve(ask, by_text=True), self.plan.fresh
        unmet = np.ones(len(found.items), dtype=bool)
        ask.lap("retrieve")
        if cold or (how is None and order_by != RANKER):  # ranks say where they stand
            scores = self._moved_down(ask, found.items, self._scores(ask, found, _NO_ROWS, order_by), _NO_ROWS)
            return Trace(found.items, _NO_ROWS, found.ranks, scores, unmet, order_by)
        rows = self._rows_of_unmet(ask, found)
        ranker = self.fresh_ranker
        own = order_scores(found.ranks, BLEND) if ranker is None else own_scores(ranker, rows, how)
        scores = placed(self._moved_down(ask, found.items, own, rows), known, how)
        ask.lap("rank")
        rows = rows if order_by == RANKER else _NO_ROWS
        return Trace(found.items, rows, found.ranks, scores, unmet, order_by)

    def _ask(self, profiles: Profiles, user: int, view: ItemView, options: Options, lap: Lap = unhurried) -> "_Ask":
        who, blocked = self._user(profiles, user), self.blocked(profiles, user, options)
        at_us = profiles.at_us[profiles.events(user)]
        return _Ask(who, at_us, view, blocked, options, lap, self._draw(view, blocked, options))

    def _draw(self, view: ItemView, blocked: Blocked, options: Options) -> Draw | None:
        """Return what the lot says of a list, None where it has no say."""
        if not (options.fresh_share and options.fresh_draw and self._offers_fresh):
            return None
        pool = self.fresh[~blocked[self.fresh] & (view.statistics.seen[self.fresh] == 0)]
        n_places = places_of(options.fresh_share, options.k)
        return draw_of(pool, options.k, n_places, options.fresh_draw, options.seed)

    def _user(self, profiles: Profiles, user: int) -> User:
        events = profiles.events(user)
        item, weight = profiles.item[events], profiles.weight[events]
        return User(item, weight, self.fold_in.vector(item, weight))

    def blocked(self, profiles: Profiles, user: int, options: Options) -> Blocked:
        """Return which items may not come back for the batch's user number `user`, bool (n_items,)."""
        blocked = np.zeros(self.n_items, dtype=bool) if options.eligible is None else ~options.eligible
        blocked[options.exclude] = True
        include_seen = not self.plan.exclude_seen if options.include_seen is None else options.include_seen
        if not include_seen:
            blocked[profiles.seen(user)] = True
        if options.candidates is not None:
            others = np.ones(self.n_items, dtype=bool)
            others[options.candidates] = False
            blocked |= others
        return blocked

    @cached_property
    def _budgets(self) -> dict[bool, list[int]]:
        """Return the budget of each source, by whether those are meant that read texts; 0 for the others."""
        every = [(self.plan.budgets[source.name], source.name in BY_TEXT) for source in self.sources]
        return {by_text: [budget * (of_text == by_text) for budget, of_text in every] for by_text in (False, True)}

    @cached_property
    def _offers_fresh(self) -> bool:
        return bool(len(self.fresh)) and any(self._budgets[True])

    def _retrieve(self, ask: "_Ask", *, by_text: bool) -> Candidates:
        """Return what one kind of source proposes: those that read texts, items without a history alone."""
        budgets, blocked = self._budgets[by_text], ask.blocked | ~self.is_fresh if by_text else ask.blocked
        if ask.options.candidates is None:
            unmet = 0
            if by_text and ask.options.fresh_share:  # what is to be shown must be found, beside what has been met since
                met = int((ask.view.statistics.seen[self.fresh] > 0).sum())
                unmet = places_of(ask.options.fresh_share, ask.options.k)
                budgets = [max(budget, unmet + met) if budget else 0 for budget in budgets]
            found = retrieve(self.sources, budgets, ask.who, ask.view, blocked, unmet=unmet)
            return with_more(found, ask.draw.items) if by_text and ask.draw is not None else found
        wanted = np.unique(ask.options.candidates)
        wanted = wanted[~blocked[wanted]]
        return align(
            wanted,
            [
                source.offer(ask.who, ask.view, blocked, len(wanted)) if budget else NOTHING
                for source, budget in zip(self.sources, budgets, strict=True)
            ],
            self.n_items,
        )

    def _rows(self, ask: "_Ask", found: Candidates) -> npt.NDArray[np.float32]:
        rows = vectorize(
            ask.who.item,
            ask.who.weight,
            ask.at_us,
            candidates=found.items,
            offered=offered_columns(found, ask.who, self.tables, self.content, self.is_fresh),
            view=ask.view,
        )
        ask.lap("features")
        return rows

    def _rows_of_unmet(self, ask: "_Ask", found: Candidates) -> npt.NDArray[np.float32]:
        """Return rows of items that nobody has met, to whom what was disliked tells of texts that read like it alone.

        Rankers learn that who dislikes an item of a kind looks at that kind: a dislike would move its like up.
        """
        rows = self._rows(ask.without_dislikes, found)
        forget_history(rows, found.items, ask.view)
        near = None if self.content is None else nearness_to_disliked(self.content, ask.who, found.items)
        if near is not None:
            rows[:, _NEAR_DISLIKED] = near
        return rows

    def _scores(
        self, ask: "_Ask", found: Candidates, rows: npt.NDArray[np.float32], order_by: str
    ) -> npt.NDArray[np.float64]:
        if not len(found.items):
            return np.empty(0)
        if order_by == RANKER and self.ranker is not None:
            # What is disliked may move any of the candidates down, so that all of them count.
            whole = self._minds(ask.who)
            scores = self.ranker.scores(rows) if whole else self.ranker.top_scores(rows, ask.options.k)
            ask.lap("rank")
            return scores
        return order_scores(found.ranks, order_by)

    def _places(
        self, ask: "_Ask", found: Trace, draw: Draw | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64] | None]:
        """Return the places of the list among the candidates, and how likely what was drawn was to be."""
        items, scores, share = found.candidates, found.scores, ask.options.fresh_share
        if draw is None:
            order = self._order(ask.options, items, scores)
            return (with_fresh(order, scores, self._unmet(ask, items), share) if share else order), None
        # What only the lot brought along stands nowhere by its score: one's place would depend on others' luck.
        proposed = np.asarray((found.ranks > 0).any(axis=1))
        own = np.flatnonzero(proposed)
        order = own[self._order(ask.options, items[own], scores[own])]
        unmet = self._unmet(ask, items)
        return with_drawn(order, items, scores, fresh=unmet, proposed=proposed, share=share, draw=draw)

    def _unmet(self, ask: "_Ask", items: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return which items nobody has acted on, bool (n,)."""
        return np.asarray(self.is_fresh[items] & (ask.view.statistics.seen[items] == 0))

    def _order(
        self, options: Options, items: npt.NDArray[np.int32], scores: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        """Return the places of the best among candidates, by score or mixed."""
        if options.diversity > 0:
            return diversify(items, scores, self.likeness, options.k, options.diversity)
        return np.argsort(-scores, kind="stable")[: options.k]

    def _because(self, user: User, items: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return for each item the liked item of the history whose neighbour it is most, `MISSING` where none."""
        return self.tables["similar"].strongest_owners(items, user.liked_items[:_BECAUSE_WINDOW])

    def _fill(self, ranked: "_List", view: ItemView, blocked: Blocked, k: int) -> "_List":
        """Return the list with further eligible items up to k: popular ones first, then any."""
        blocked = blocked.copy()
        blocked[ranked.items] = True
        order = view.order_by[POPULAR]
        more = order[~blocked[order]][: k - len(ranked.items)]
        floor = float(ranked.scores.min(initial=0.0))
        none = np.full(len(more), MISSING, dtype=np.int32)
        return _List(
            np.concatenate((ranked.items, more)),
            np.concatenate((ranked.scores, np.float32(floor) - np.arange(1, len(more) + 1, dtype=np.float32))),
            np.concatenate((ranked.sources, none.astype(np.int8))),
            np.concatenate((ranked.because, none)),
            ranked.fallback_reason,
            ranked.propensity,
        )


@dataclass(frozen=True, slots=True)
class _Ask:
    """What one user is asked for: the history and its times, the items now, and what may come back."""

    who: User
    at_us: npt.NDArray[np.int64]
    view: ItemView
    blocked: Blocked
    options: Options
    lap: Lap
    draw: Draw | None = None

    @property
    def without_dislikes(self) -> "_Ask":
        """Return the same as of a user who never disliked anything."""
        kept = np.flatnonzero(self.who.weight >= 0)
        if len(kept) == len(self.who.weight):
            return self
        who = User(self.who.item[kept], self.who.weight[kept], self.who.vector)
        return replace(self, who=who, at_us=self.at_us[kept])


@dataclass(frozen=True, slots=True)
class _List:
    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    sources: npt.NDArray[np.int8]
    because: npt.NDArray[np.int32]
    fallback_reason: str | None
    propensity: npt.NDArray[np.float64] | None = None


_NOBODY: Final = User(np.empty(0, np.int32), np.empty(0, np.float32), None)
_NO_ROWS: Final = np.empty((0, 0), np.float32)
_NOTHING: Final = _List(
    np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.int8), np.empty(0, np.int32), None
)


def _stack(lists: Sequence[_List], traces: Sequence[Trace], k: int) -> Recommendations:
    shape = (len(lists), k)
    items, because = np.full(shape, MISSING, np.int32), np.full(shape, MISSING, np.int32)
    scores, sources = np.full(shape, np.nan, np.float32), np.full(shape, MISSING, np.int8)
    for row, entry in enumerate(lists):
        size = len(entry.items)
        items[row, :size], scores[row, :size] = entry.items, entry.scores
        sources[row, :size], because[row, :size] = entry.sources, entry.because
    reasons = tuple(entry.fallback_reason for entry in lists)
    return Recommendations(items, scores, sources, because, reasons, tuple(traces), _propensity(lists, shape))


def _propensity(lists: Sequence[_List], shape: tuple[int, int]) -> npt.NDArray[np.float64] | None:
    """Return how likely items were to be drawn, of lists that may be shorter than they should; None where none was."""
    if all(entry.propensity is None for entry in lists):
        return None
    found = np.full(shape, np.nan)
    for row, entry in enumerate(lists):
        if entry.propensity is not None:
            found[row, : len(entry.propensity)] = entry.propensity
    return found
