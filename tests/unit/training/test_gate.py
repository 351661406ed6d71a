"""The gate's rules on values whose answer is plain."""

import numpy as np
import pytest

from features.contracts.errors import ContractError
from training.gate import Decision, GateRules, decide, undecided
from training.metrics import Floats

RULES = GateRules(resamples=200)
USERS = 300


def values(mean: float, seed: int = 1, users: int = USERS) -> dict[str, Floats]:
    noise = np.random.default_rng(seed).uniform(-0.05, 0.05, users)
    return {"ndcg@10": np.clip(mean + noise, 0, 1)}


def judged(candidate: float, champion: float | None, popularity: float, users: int = USERS) -> Decision:
    theirs = None if champion is None else values(champion, 2, users)
    rng = np.random.default_rng(0)
    return decide(values(candidate, 1, users), theirs, values(popularity, 3, users), RULES, rng)


def verdicts(decision: Decision) -> dict[str, str]:
    return {rule.rule: rule.verdict for rule in decision.rules}


def test_the_first_version_that_beats_popularity_is_promoted() -> None:
    decision = judged(0.3, None, 0.1)
    assert decision.outcome == "promoted"
    assert verdicts(decision) == {"users": "passed", "popularity": "passed", "champion": "passed"}


def test_what_does_not_clearly_beat_popularity_is_refused_with_the_numbers() -> None:
    decision = judged(0.1, None, 0.1)
    assert decision.outcome == "refused"
    assert "ndcg@10 " in decision.reasons
    assert "against popularity, lower bound must be above 0" in decision.reasons


def test_what_is_clearly_worse_than_the_champion_is_refused() -> None:
    decision = judged(0.3, 0.35, 0.1)
    assert decision.outcome == "refused"
    assert verdicts(decision)["champion"] == "failed"


def test_an_equal_model_is_promoted() -> None:
    assert judged(0.3, 0.3, 0.1).outcome == "promoted"


def test_too_few_users_need_a_human_and_the_count_is_told() -> None:
    decision = judged(0.3, 0.2, 0.1, users=99)
    assert decision.outcome == "needs_human"
    assert "99 users judged, 100 needed" in decision.reasons


def test_nobody_to_judge_needs_a_human() -> None:
    assert judged(0.3, 0.2, 0.1, users=0).outcome == "needs_human"


def test_what_cannot_be_compared_needs_a_human() -> None:
    decision = undecided(0, "champion", "its files are gone")
    assert decision.outcome == "needs_human"
    assert decision.to_json()["rules"] == [{"rule": "champion", "verdict": "undecided", "reason": "its files are gone"}]


def test_one_seed_one_decision() -> None:
    assert judged(0.3, 0.29, 0.1) == judged(0.3, 0.29, 0.1)


def test_values_of_other_users_are_refused() -> None:
    with pytest.raises(ContractError, match="300 users of the candidate, 200 of the popularity"):
        decide(values(0.3), None, values(0.1, users=200), RULES, np.random.default_rng(0))


def test_a_missing_metric_is_named() -> None:
    with pytest.raises(ContractError, match="candidate's metrics hold"):
        decide({"recall@20": np.ones(3)}, None, values(0.1), RULES, np.random.default_rng(0))
