"""The gate is monotone: a candidate that does better for some users is never treated worse."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from training.gate import GateRules, RuleResult, decide
from training.metrics import Floats

ORDER = {"refused": 0, "needs_human": 1, "promoted": 2}
USERS = 12
# As the decimals of metrics come: tiny and huge floats would test the arithmetic, not the gate.
SCORES = st.integers(0, 100).map(lambda hundredths: hundredths / 100)
VALUES = arrays.arrays(np.float64, USERS, elements=SCORES)


def outcome(  # noqa: PLR0917  # a row of arguments
    candidate: Floats,
    champion: Floats | None,
    popularity: Floats,
    seed: int,
    min_users: int,
    others: tuple[RuleResult, ...] = (),
) -> int:
    rules = GateRules(min_users=min_users, resamples=50)
    theirs = None if champion is None else {"ndcg@10": champion}
    rng = np.random.default_rng(seed)
    return ORDER[decide({"ndcg@10": candidate}, theirs, {"ndcg@10": popularity}, rules, rng, others=others).outcome]


@given(st.data())
def test_raising_values_of_the_candidate_never_makes_the_outcome_worse(
    data: st.DataObject,
) -> None:
    candidate, better, popularity = (data.draw(VALUES) for _ in range(3))
    champion = data.draw(st.none() | VALUES)
    seed, min_users = data.draw(st.integers(0, 1000)), data.draw(st.sampled_from([1, USERS + 1]))
    others = data.draw(st.sampled_from([(), (RuleResult("serving path", "undecided", "skewed"),)]))
    raised = outcome(np.maximum(candidate, better), champion, popularity, seed, min_users, others)
    assert raised >= outcome(candidate, champion, popularity, seed, min_users, others)


@given(candidate=VALUES, champion=VALUES, better=VALUES, popularity=VALUES, seed=st.integers(0, 1000))
def test_a_better_champion_or_popularity_never_makes_the_outcome_better(
    candidate: Floats, champion: Floats, better: Floats, popularity: Floats, seed: int
) -> None:
    before = outcome(candidate, champion, popularity, seed, 1)
    assert outcome(candidate, np.maximum(champion, better), popularity, seed, 1) <= before
    assert outcome(candidate, champion, np.maximum(popularity, better), seed, 1) <= before
