"""What may come back: live item state and the request's own wishes, as options of the recommender."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING, IdMap
from features.contracts.profiles import Options
from serving.asks import Ask, Mixing
from serving.item_states import ItemStates
from serving.live import LiveModel


def options_of(ask: Ask, live: LiveModel, as_of_us: int, mixing: Mixing) -> Options:
    """Return the options that make the recommender keep to item state and to the request's wishes."""
    items, eligible = live.model.items, live.items.visible(as_of_us)
    if ask.categories:
        eligible = eligible & live.items.in_categories(ask.categories)
    excluded = _known(items, ask.exclude)
    candidates = None
    if ask.candidates is not None:
        candidates = _known(items, ask.candidates)
        candidates = candidates[eligible[candidates] & ~np.isin(candidates, excluded)]
    return Options(
        k=ask.k,
        exclude=excluded,
        eligible=eligible,
        candidates=candidates,
        include_seen=ask.include_seen,
        fresh_share=mixing.fresh_share,
        diversity=mixing.diversity if ask.diversity is None else ask.diversity,
    )


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


def _known(items: IdMap, external_ids: Sequence[str]) -> npt.NDArray[np.int32]:
    """Return the internal indices of those ids that the bundle knows."""
    index = items.index_or_missing(external_ids)
    known: npt.NDArray[np.int32] = index[index != MISSING]
    return known
