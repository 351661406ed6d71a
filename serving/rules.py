"""What may come back: live item state and the request's own wishes, as options of the recommender and as masks.

A language of rules and filters belongs here: what it says of items becomes part of `eligible` and of `allowed_rows`.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING, IdMap
from features.contracts.profiles import Options, UserHistory
from serving.asks import Ask, Mixing
from serving.item_states import ItemStates, Mask
from serving.live import LiveModel


def options_of(ask: Ask, live: LiveModel, as_of_us: int, mixing: Mixing, seed: str = "") -> Options:
    """Return the options that make the recommender keep to item state and to the request's wishes.

    `seed` is that of what is drawn by lot.
    """
    items, eligible = live.model.items, live.items.visible(as_of_us)
    if ask.categories:
        # Before states were read the bundle's word is all there is; the answer says that they are missing.
        members = live.items.in_categories if live.items.loaded else live.model.in_categories
        eligible = eligible & members(ask.categories)
    excluded = _known(items, excluded_ids(ask))
    candidates = None
    if ask.candidates is not None:
        candidates = _known(items, ask.candidates)
        candidates = candidates[eligible[candidates] & ~np.isin(candidates, excluded)]
    return Options(
        k=ask.k,
        exclude=excluded,
        eligible=eligible,
        candidates=candidates,
        include_seen=_includes_seen(ask, live),
        fresh_share=mixing.fresh_share if ask.fresh_share is None else ask.fresh_share,
        fresh_draw=mixing.fresh_draw if ask.fresh_draw is None else ask.fresh_draw,
        seed=seed,
        diversity=mixing.diversity if ask.diversity is None else ask.diversity,
    )


def excluded_ids(ask: Ask) -> Sequence[str]:
    """Return what a request does not want back: what it excludes, and the item whose like it asks for."""
    return (*ask.exclude, ask.item_id) if ask.kind == "similar" and ask.item_id is not None else ask.exclude


def with_seen_by(history: UserHistory, actions: Collection[str]) -> UserHistory:
    """Return a history whose seen items are those of its events with some actions; as it is where none are named."""
    if not actions:
        return history
    seen = {item_id for item_id, action in zip(history.item_ids, history.actions, strict=True) if action in actions}
    return replace(history, seen_item_ids=sorted(seen))


def allowed_items(item_ids: Sequence[str], ask: Ask, states: ItemStates, as_of_us: int) -> list[str]:
    """Return those of some items that a request allows where there is no bundle: what is unknown may be shown."""
    candidates = None if ask.candidates is None else set(ask.candidates)
    categories = set(ask.categories)
    return [
        item_id
        for item_id in item_ids
        if (candidates is None or item_id in candidates)
        and states.may_show(item_id, as_of_us)
        and (not categories or categories & set(states.categories(item_id)))
    ]


def allowed_rows(ask: Ask, leave_out: Collection[str], states: ItemStates, as_of_us: int) -> Mask:
    """Return which items that were heard of a request allows, bool (n_rows,): also those that no bundle knows.

    Parameters
    ----------
    leave_out
        External ids that must not come back, beside those that the request excludes.
    """
    allowed = states.visible(as_of_us).copy()
    if ask.categories:
        allowed &= states.in_categories(ask.categories)
    if ask.candidates is not None:
        chosen = np.zeros(len(allowed), dtype=np.bool_)
        chosen[states.known_rows(ask.candidates)] = True
        allowed &= chosen
    allowed[states.known_rows(excluded_ids(ask))] = False
    allowed[states.known_rows(leave_out)] = False
    return allowed


def _includes_seen(ask: Ask, live: LiveModel) -> bool:
    if ask.include_seen is not None:
        return ask.include_seen
    return not (ask.seen_actions or live.model.excludes_seen)


def _known(items: IdMap, external_ids: Sequence[str]) -> npt.NDArray[np.int32]:
    """Return the internal indices of those ids that the bundle knows."""
    index = items.index_or_missing(external_ids)
    known: npt.NDArray[np.int32] = index[index != MISSING]
    return known
