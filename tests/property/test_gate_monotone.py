"""The gate is monotone: a candidate that does better for some users, or a worse champion, is never treated worse."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.support.gate_evidence import METRICS, evidence, with_candidate, with_champion
from training.gate import decide
from training.gating.evidence import Evidence, Held
from training.gating.power import Margin, users_needed
from training.gating.results import ORDER, RuleResult
from training.gating.rules import GateRules
from training.gating.rules_file import load_rules
from training.gating.verdicts import WORDS, Sampling, compare
from training.metrics import Floats

USERS = 12
MANY = 60
# As the decimals of metrics come: tiny and huge floats would test the arithmetic, not the gate.
SCORES = st.integers(0, 100).map(lambda hundredths: hundredths / 100)
VALUES = arrays.arrays(np.float64, USERS, elements=SCORES)
MARGINS = st.sampled_from(
    [[Margin(0.05)], [Margin(0.3)], [Margin(0.02, relative=False)], [Margin(0.5), Margin(0.2, relative=False)]]
)
SHARES = st.integers(0, 50).map(lambda known: Held(known, 50))


SHIPPED = load_rules()
OF_EVERY_METRIC = {
    f"{name}, {metric}": SHIPPED.rules[name].model_copy(update={"metric": metric})
    for name in ("minimum", "popularity", "champion")
    for metric in METRICS
}
WIDE = {**SHIPPED.rules, "champion": SHIPPED.rules["champion"].model_copy(update={"margin": 0.4})}


def rules(min_users: int = 1, **changes: Any) -> GateRules:
    few = {"min_users": min_users, "resamples": 200, "power": 0.5, "rules": WIDE}
    return SHIPPED.model_copy(update=few | changes)


def outcome(known: Evidence, asked: GateRules, seed: int) -> int:
    return ORDER[decide(known, asked, seed).outcome]


@given(st.data())
def test_raising_values_of_the_candidate_never_makes_the_outcome_worse(data: st.DataObject) -> None:
    candidate, better, popularity = (data.draw(VALUES) for _ in range(3))
    champion, seed = data.draw(st.none() | VALUES), data.draw(st.integers(0, 1000))
    asked = rules(
        data.draw(st.sampled_from([1, USERS + 1])), promote=data.draw(st.sampled_from(["not_worse", "better"]))
    )
    skew = data.draw(st.sampled_from([None, RuleResult("serving path", "failed", "skewed")]))
    low = replace(evidence(candidate, champion, popularity), serving_path=skew)
    high = replace(evidence(np.maximum(candidate, better), champion, popularity), serving_path=skew)
    assert outcome(high, asked, seed) >= outcome(low, asked, seed)


@given(candidate=VALUES, champion=VALUES, better=VALUES, popularity=VALUES, seed=st.integers(0, 1000))
def test_a_better_champion_or_popularity_never_makes_the_outcome_better(
    candidate: Floats, champion: Floats, better: Floats, popularity: Floats, seed: int
) -> None:
    before = outcome(evidence(candidate, champion, popularity), rules(), seed)
    assert outcome(evidence(candidate, np.maximum(champion, better), popularity), rules(), seed) <= before
    assert outcome(evidence(candidate, champion, np.maximum(popularity, better)), rules(), seed) <= before


def many(rng: np.random.Generator, hit: float) -> Floats:
    """Return values of more users than hypothesis draws one by one: a mean that all four verdicts come near to."""
    return np.where(rng.random(MANY) < hit, rng.integers(1, 101, MANY) / 100, 0.0)


@given(seed=st.integers(0, 2**32 - 1), hit=st.sampled_from([0.5, 0.8, 0.95]), metric=st.sampled_from(METRICS))
def test_raising_one_metric_alone_never_makes_the_outcome_worse(seed: int, hit: float, metric: str) -> None:
    rng = np.random.default_rng(seed)
    theirs = many(rng, 0.8)
    ours = {name: np.where(rng.random(MANY) < 0.8, theirs, many(rng, hit)) for name in METRICS}
    higher = ours | {metric: np.maximum(ours[metric], many(rng, hit))}
    known, asked = evidence(theirs, theirs, many(rng, 0.1)), rules(rules=OF_EVERY_METRIC)
    before, after = (outcome(with_candidate(known, values=one), asked, seed % 1000) for one in (ours, higher))
    assert after >= before


@given(
    seed=st.integers(0, 2**32 - 1),
    hit=st.sampled_from([0.3, 0.6, 0.95]),
    alike=st.sampled_from([0.0, 0.8, 0.95, 1.0]),
    moved=st.sampled_from([1, 3, MANY // 2]),
    margins=MARGINS,
)
def test_the_verdict_never_falls_when_a_candidate_value_rises_or_a_champion_value_falls(
    seed: int, hit: float, alike: float, moved: int, margins: list[Margin]
) -> None:
    rng = np.random.default_rng(seed)
    champion = many(rng, hit)
    candidate = np.where(rng.random(MANY) < alike, champion, many(rng, hit))
    sampling = Sampling(seed % 1000, resamples=200, min_users=1, power=0.5)
    before = compare(candidate, champion, margins, sampling)
    users = rng.permutation(MANY)[:moved]
    raised, lowered = candidate.copy(), champion.copy()
    raised[users] = np.maximum(raised[users], rng.integers(0, 101, moved) / 100)
    lowered[users] = np.minimum(lowered[users], rng.integers(0, 101, moved) / 100)
    for ours, theirs in ((raised, champion), (candidate, lowered)):
        after = compare(ours, theirs, margins, sampling)
        assert WORDS.index(after.word) >= WORDS.index(before.word)
        for margin in margins:
            needed = [
                users_needed(a[:, None], b[:, None], margin, 0.8)[0] for a, b in ((ours, theirs), (candidate, champion))
            ]
            assert needed[0] <= needed[1]


@given(st.data())
def test_no_guardrail_is_met_less_when_what_it_guards_gets_better(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    values = many(rng, 0.9)
    known = evidence(values, values, np.zeros(MANY))
    draw = {
        "shown_items": st.integers(0, 200),
        "average_popularity": st.integers(0, 100).map(lambda percent: percent / 1000),
        "trained_until_us": st.integers(0, 30).map(lambda days: known.window_start_us - days * 86_400_000_000),
        "interactions": st.integers(0, 20_000),
        "size_mb": st.integers(1, 6_000).map(float),
        "latency_ms": st.integers(1, 300).map(float),
    }
    lower_is_better = {"average_popularity", "size_mb", "latency_ms"}
    name = data.draw(st.sampled_from(sorted(draw)))
    worse, better = sorted((data.draw(draw[name]), data.draw(draw[name])), reverse=name in lower_is_better)
    outcomes = [outcome(with_candidate(known, **{name: value}), rules(), 0) for value in (worse, better)]
    assert outcomes[0] <= outcomes[1]


@given(fewer=SHARES, more=SHARES, category=st.booleans())
def test_knowing_more_of_the_champions_items_never_makes_the_outcome_worse(
    fewer: Held, more: Held, *, category: bool
) -> None:
    fewer, more = sorted((fewer, more), key=lambda held: held.known)
    values = many(np.random.default_rng(1), 0.9)
    known = evidence(values, values, np.zeros(MANY))
    parts = [
        with_champion(known, **({"categories": {"drama": held}} if category else {"items": held}))
        for held in (fewer, more)
    ]
    assert outcome(parts[0], rules(), 0) <= outcome(parts[1], rules(), 0)
