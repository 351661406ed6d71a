"""Evidence in front of the gate, made up: two models alike, of which a test changes what it is about."""

from dataclasses import replace

import numpy as np
from scipy.stats import norm

from features.admin.doctor import Diagnosis
from features.contracts.statistics import DAY_US
from training.gating.evidence import Champion, Evidence, Held, Model, Values
from training.metrics import Floats

START_US = 20_000 * DAY_US
METRICS = ("ndcg@10", "recall@20", "hit_rate@10")
HEALTHY = Diagnosis(blocked=False, rows=10_000, sampled=10_000, percent=100, findings=[])


def skewed(
    rng: np.random.Generator, users: int, columns: int = 1, *, alike: float = 0.9, hit: float = 0.3
) -> tuple[Floats, Floats]:
    """Return values of two equally good models, (users, columns) each, as NDCG falls out: mostly 0, the rest skewed.

    Parameters
    ----------
    alike
        Correlation of what the models' values are made from.
    hit
        Share of users for whom a model finds anything.
    """
    ours, other = (rng.standard_normal((users, columns)) for _ in range(2))
    theirs = alike * ours + np.sqrt(1 - alike**2) * other
    return _ndcg(ours, hit), _ndcg(theirs, hit)


def _ndcg(latent: Floats, hit: float) -> Floats:
    above = np.clip((norm.cdf(latent) - (1 - hit)) / hit, 0, 1)
    return np.asarray(above**1.5)


def values(ndcg: Floats) -> Values:
    """Return the same values for every metric."""
    return dict.fromkeys(METRICS, ndcg)


def model(ndcg: Floats) -> Model:
    """Return a model like any other, with these values."""
    return Model(
        values=values(ndcg),
        shown_items=100,
        average_popularity=0.02,
        trained_until_us=START_US,
        interactions=10_000,
        size_mb=20.0,
        latency_ms=1.0,
    )


def evidence(candidate: Floats, champion: Floats | None, popularity: Floats) -> Evidence:
    """Return evidence of two models that differ in their values only, or of a first one."""
    beside = None
    if champion is not None:
        beside = Champion(
            model(champion),
            {"all users": dict.fromkeys(METRICS, (candidate, champion))},
            Held(50, 50),
            {"drama": Held(20, 20)},
        )
    return Evidence(
        candidate=model(candidate),
        popularity=values(popularity),
        champion=beside,
        window_start_us=START_US,
        interactions_before=10_000,
        doctor=HEALTHY,
    )


def with_candidate(known: Evidence, **changes: object) -> Evidence:
    """Return the evidence with something else about the candidate."""
    return replace(known, candidate=replace(known.candidate, **changes))  # type: ignore[arg-type]  # as the test names it


def with_champion(known: Evidence, **changes: object) -> Evidence:
    """Return the evidence with something else about what is compared with the champion."""
    assert known.champion is not None
    return replace(known, champion=replace(known.champion, **changes))  # type: ignore[arg-type]  # as the test names it
