"""From bundles and data to evidence: both models make lists for the same users of a window that neither learned of."""

from dataclasses import dataclass, replace
from pathlib import Path

from training.bundle.bundle import Bundle
from training.data import Interactions
from training.evaluate import evaluate
from training.evaluation.methods import SERVED, TITLES
from training.gating.evidence import Champion, Evidence, Values
from training.gating.parts import Parts, parts_by_length, parts_by_popularity
from training.gating.provenance import categories_held, items_held, leaks
from training.gating.timing import fastest_ms, list_calls
from training.gating.window import Listed, Reads, Window
from training.split import known_before

POPULARITY = TITLES["popular"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """The new version as its run left it.

    Attributes
    ----------
    bundle
        What would serve.
    window_start_us
        Where the judging window of its run begins.
    erased
        Interactions that have left the run's data since it was trained.
    listed, popularity
        What it was judged by there, and the values of popular items; None where that was not kept.
    """

    bundle: Bundle
    window_start_us: int
    erased: int = 0
    listed: Listed | None = None
    popularity: Values | None = None


def gather(
    interactions: Interactions,
    candidate: Candidate,
    champion: Bundle | None,
    *,
    items_file: Path | None = None,
    reads: Reads | None = None,
    include_seen: bool = False,
    seed: int = 0,
    timed: bool = True,
) -> Evidence:
    """Return what the gate decides on, as far as bundles and data tell.

    Parameters
    ----------
    interactions
        All of the run's data; the window is what comes after the later end of training.
    items_file, reads
        As of the window.
    timed
        Whether lists are timed.
    """
    bundle = candidate.bundle
    ends = [one.manifest.trained_until_us for one in (bundle, champion) if one is not None]
    window = Window(interactions, max(candidate.window_start_us, *ends), include_seen, items_file, reads)
    listed, popularity = _judged(candidate, window, seed)
    evidence = Evidence(
        candidate=window.model(bundle, listed),
        popularity=popularity,
        champion=None if champion is None else _beside(window, bundle, listed, champion),
        window_start_us=window.start_us,
        interactions_before=len(known_before(interactions, bundle.manifest.trained_until_us)),
        leaks=leaks(bundle, interactions, candidate.window_start_us, candidate.erased),
    )
    return _with_latency(evidence, window, bundle, champion) if timed and evidence.users else evidence


def _judged(candidate: Candidate, window: Window, seed: int) -> tuple[Listed, Values]:
    """Return what the candidate shows, and the values of popular items: as its run kept them, if its window is this."""
    same = window.start_us == candidate.window_start_us
    if same and candidate.listed is not None and candidate.popularity is not None:
        return candidate.listed, candidate.popularity
    judged = window.judged(candidate.bundle)
    if not len(judged):
        nothing = window.shown_by(candidate.bundle)
        return nothing, nothing.values
    found = evaluate(candidate.bundle.recommender, judged, seed=seed)
    return Listed(found.lists[SERVED], found.values[SERVED]), found.values[POPULARITY]


def _beside(window: Window, bundle: Bundle, listed: Listed, champion: Bundle) -> Champion:
    theirs = window.shown_by(champion)
    return Champion(
        model=window.model(champion, theirs),
        segments=_parts(window, (bundle, listed), (champion, theirs)),
        items=items_held(bundle, champion),
        categories=categories_held(bundle, champion),
    )


def _parts(window: Window, candidate: tuple[Bundle, Listed], champion: tuple[Bundle, Listed]) -> Parts:
    ours, theirs = (window.in_own_items(bundle, listed.lists) for bundle, listed in (candidate, champion))
    by_length = parts_by_length(candidate[1].values, champion[1].values, window.history_length)
    return by_length | parts_by_popularity(ours, theirs, window.own.labels, window.popularity)


def _with_latency(evidence: Evidence, window: Window, bundle: Bundle, champion: Bundle | None) -> Evidence:
    models = [one for one in (bundle, champion) if one is not None]
    took_ms = fastest_ms([list_calls(one.recommender, window.judged(one)) for one in models])
    timed = replace(evidence, candidate=replace(evidence.candidate, latency_ms=took_ms[0]))
    if evidence.champion is None:
        return timed
    return replace(
        timed, champion=replace(evidence.champion, model=replace(evidence.champion.model, latency_ms=took_ms[1]))
    )
