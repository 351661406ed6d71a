"""Why an item is in a list: a sentence for everyone, ranks and features for those who ask."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, Final

import numpy as np

from features.contracts.ids import MISSING
from serving.contributions import FILLED, POPULAR, Contributions, place_of, told, without_values
from serving.live import LiveModel
from training.bundle.result import Recommendations, Trace
from training.bundle.sources import FRESH

FILLER: Final = "filler"
"""Source of items that no source offered and that only fill the list up."""

_CAUSED: Final = {
    "next": "Often follows",
    "lately": "Lately often follows",
    "near": "Often liked around",
    "category": "Of the same kind as",
    "content": "Reads like",
}
_PLAIN: Final = {
    "popular": "Popular with everyone",
    "trend_1d": "Trending today",
    "trend_14d": "Popular now",
    "trend_60d": "Popular these weeks",
    "trend_category": "Trending among the kinds that you like",
    "repeat": "You had it before",
    FRESH: "New, and promises to be to your taste",
    "fresh_popular": "New, and much like what many took to",
    "new": "New in the catalogue",
    FILLER: "Popular with everyone",
}
UNMET: Final = {FRESH: "New, and nobody has acted on it yet", FILLER: "Nobody has acted on it yet"}
"""By source, of an item while that is so: what was new at training may be popular by now; what fills up need not be."""

_USUAL: Final[Mapping[str, str]] = {}
_NO_WHY: Final[Contributions] = {}


def reason_of(source: str, because: str | None, words: Mapping[str, str] = _USUAL) -> str:
    """Return in words why a source offers an item.

    Parameters
    ----------
    source
        Name of the source that ranked it best.
    because
        Title of the item in the user's history that speaks most for it, None where none does.
    words
        What stands before this title instead of the usual words, by source.

    >>> reason_of("next_last", "Heat"), reason_of("als", None)
    ('Often follows Heat', 'Matches your taste')
    """
    if source in _PLAIN:
        return _PLAIN[source]
    if because is None:
        return "Matches your taste"
    return f"{words.get(source) or _CAUSED.get(source.partition('_')[0], 'Because you liked')} {because}"


def list_items(
    live: LiveModel,
    answer: Recommendations,
    *,
    explain: bool,
    in_full: bool = False,
    words: Mapping[str, str] = _USUAL,
    contributions: Contributions = _NO_WHY,
    order: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return the first user's list in its wire form, best first.

    Parameters
    ----------
    explain
        Whether each item tells how it came into the list.
    in_full
        Whether it tells feature values too.
    words
        As in `reason_of`.
    contributions
        What moved the scores, of those items of which it is known.
    order
        `ordered_by` and `said` of a list that is not ordered as the feed is.
    """
    size = int((answer.items[0] != MISSING).sum())
    rows = answer.items[0, :size]
    listed = [
        {"item_id": item_id, "rank": rank, "score": score} | _said(live, row, source, because, words)
        for rank, (item_id, score, row, source, because) in enumerate(
            zip(
                live.model.items.external(rows),
                answer.scores[0, :size].tolist(),
                rows.tolist(),
                answer.sources[0, :size].tolist(),
                answer.because[0, :size].tolist(),
                strict=True,
            ),
            1,
        )
    ]
    if answer.propensity is not None:
        for entry, chance in zip(listed, answer.propensity[0, :size].tolist(), strict=True):
            if not isnan(chance):
                entry["propensity"] = chance
    if explain:
        trace = answer.traces[0] if answer.traces else None
        for entry, row in zip(listed, rows.tolist(), strict=True):
            why = _explanation(live, trace, row, contributions)
            entry["explanation"] = {**(why if in_full else without_values(why)), **(order or {})}
    return listed


def _said(live: LiveModel, row: int, source: int, because: int, words: Mapping[str, str]) -> dict[str, Any]:
    name = FILLER if source == MISSING else live.model.source_names[source]
    cause = None if because == MISSING else name_of(live, because)
    reason = reason_of(name, cause, words)
    if not live.statistics.current.seen[row]:
        reason = UNMET.get(name, reason)
    return {"source": name, "reason": reason, "title": live.items.title(row)}


def name_of(live: LiveModel, row: int) -> str:
    """Return the title of an item, or its id where no title is known."""
    return live.items.title(row) or live.model.items.external(np.array([row]))[0]


def _explanation(live: LiveModel, trace: Trace | None, row: int, contributions: Contributions) -> dict[str, Any]:
    """Return each source's rank of an item, the feature values that the ranker saw, and what they did to its score."""
    found = None if trace is None else place_of(trace, row)
    if trace is None or found is None:
        by, said = ("popular", POPULAR) if trace is None else (FILLER, FILLED)
        return unranked({"ordered_by": by, "said": said})
    features = trace.rows[found].tolist() if len(trace.rows) else []
    return {
        "ranks": {name: int(rank) for name, rank in _known(live.model.source_names, trace.ranks[found].tolist())},
        "features": dict(_known(live.model.spec.names, features)),
        **told(live.model, trace, found, contributions.get(row)),
    }


def unranked(order: Mapping[str, str]) -> dict[str, Any]:
    """Return the explanation of an item that no source ranked: `ordered_by`, `said` and no more."""
    return {"ranks": {}, "features": {}, **order, "contributions": []}


def _known(names: Sequence[str], values: Sequence[float]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in zip(names, values, strict=False) if value == value]  # noqa: PLR0124  # NaN
