"""What a bundle tells of how it was made: signs that it learned of its judging window, and its items."""

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING, IdMap
from training.bundle.bundle import Bundle
from training.data import Interactions
from training.gating.evidence import Held
from training.gating.told import at
from training.split import known_before


def leaks(bundle: Bundle, interactions: Interactions, window_start_us: int, erased: int = 0) -> tuple[str, ...]:
    """Return signs that a bundle learned of what came after the start of its run's judging window.

    Its manifest alone could be wrong: so its statistics are held against the data, too.

    Parameters
    ----------
    interactions
        All of the run's data.
    erased
        Interactions that have left these data since: what was learned of them is no leak.
    """
    found = []
    until_us = bundle.manifest.trained_until_us
    if until_us > window_start_us:
        found.append(f"trained until {at(until_us)}, but the judging window begins at {at(window_start_us)}")
    elif until_us > int(interactions.at_us[-1]):
        found.append(f"trained until {at(until_us)}, which leaves nothing of the run's data to judge it on")
    learned, there = learned_from(bundle, interactions), len(known_before(interactions, window_start_us))
    if learned > there + erased:
        found.append(f"learned from {learned:,} interactions, but there were {there:,} before the judging window")
    early = _met_too_early(bundle, interactions, window_start_us)
    if len(early) > erased:
        named = ", ".join(early[:3])
        found.append(f"learned of {len(early):,} items that nobody met before the judging window, such as {named}")
    return tuple(found)


def learned_from(bundle: Bundle, interactions: Interactions) -> int:
    """Return how many interactions a bundle learned from: as its manifest says, or more if its statistics do.

    What items had met of which the run's data hold nothing is in its statistics, too, and was not learned from.
    """
    gone = _met_beside(interactions, bundle.items)
    return max(bundle.manifest.n_interactions, int(bundle.parts.state.seen.sum()) - gone)


def _met_beside(interactions: Interactions, items: IdMap) -> int:
    """Return how many events some items had met that are in no row: before the first one, or taken away since."""
    start = interactions.start(items)
    if start.then is None:
        return int(start.state.seen.sum())
    theirs = items.index_or_missing(interactions.items.external(np.arange(len(interactions.items)))) != MISSING
    held = theirs[interactions.item] & (interactions.known_us < start.then.edge_us)
    return int(start.then.state.seen.sum() - held.sum())


def items_held(candidate: Bundle, champion: Bundle) -> Held:
    """Return how many of the items that the champion learned of the candidate learned of, too."""
    theirs, held = _held(candidate, champion)
    return Held(int(held.sum()), int(theirs.sum()))


def categories_held(candidate: Bundle, champion: Bundle) -> dict[str, Held]:
    """Return the same of each of the champion's categories; an item counts that the candidate knows to be in it."""
    theirs, held = _held(candidate, champion)
    ours, base = candidate.parts.categories, champion.parts.categories
    owner = np.repeat(np.arange(len(theirs)), base.count)
    of = np.bincount(base.index[theirs[owner]], minlength=len(base.names))
    position = candidate.items.index_or_missing(champion.items.external(np.arange(len(theirs))))
    number = {name: place for place, name in enumerate(ours.names)}
    translated = np.array([number.get(name, MISSING) for name in base.names], dtype=np.int64)
    pair = position[owner].astype(np.int64) * max(len(ours.names), 1) + translated[base.index]
    there = np.repeat(np.arange(len(candidate.items)), ours.count) * max(len(ours.names), 1) + ours.index
    in_both = held[owner] & (translated[base.index] != MISSING) & np.isin(pair, there)
    known = np.bincount(base.index[in_both], minlength=len(base.names))
    return {name: Held(int(known[row]), int(of[row])) for row, name in enumerate(base.names)}


def _held(candidate: Bundle, champion: Bundle) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which of the champion's items it learned of, and of which of those the candidate did, bool (n_items,)."""
    position = candidate.items.index_or_missing(champion.items.external(np.arange(len(champion.items))))
    theirs = champion.parts.state.seen > 0
    met = np.append(candidate.parts.state.seen > 0, False)  # what `MISSING` points to
    return theirs, theirs & met[position]


def _met_too_early(bundle: Bundle, interactions: Interactions, window_start_us: int) -> list[str]:
    """Return the items that a bundle learned of although no event on them was known before the window."""
    held, before = (np.zeros(len(interactions.items), dtype=bool) for _ in range(2))
    held[interactions.item] = True
    before[interactions.item[known_before(interactions, window_start_us)]] = True
    start = interactions.start()
    before |= start.state.seen > 0
    if start.then is not None and start.then.edge_us <= window_start_us:
        before |= start.then.state.seen > 0
    new = np.flatnonzero(held & ~before)
    position = bundle.items.index_or_missing(interactions.items.external(new))
    met = np.append(bundle.parts.state.seen > 0, False)  # what `MISSING` points to
    return interactions.items.external(new[met[position]])
