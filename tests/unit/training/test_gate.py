"""The gate's rules on evidence whose answer is plain."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from features.admin.doctor import Diagnosis, Finding, Outcome
from features.contracts.errors import ContractError
from features.contracts.statistics import DAY_US
from tests.support.gate_evidence import START_US, evidence, values, with_candidate, with_champion
from training.gate import decide
from training.gating.evidence import Evidence, Held
from training.gating.results import Decision, RuleResult
from training.gating.rules import GateRules, OnFail
from training.gating.rules_file import load_rules
from training.metrics import Floats

SHIPPED = load_rules()
RULES = SHIPPED.model_copy(update={"resamples": 200})
USERS = 300

Change = Callable[[Evidence], Evidence]


def scores(mean: float, seed: int = 1, users: int = USERS) -> Floats:
    noise = np.random.default_rng(seed).uniform(-0.05, 0.05, users)
    return np.clip(mean + noise, 0, 1)


def case(candidate: float, champion: float | None, popularity: float, users: int = USERS) -> Evidence:
    theirs = None if champion is None else scores(champion, 2, users)
    return evidence(scores(candidate, 1, users), theirs, scores(popularity, 3, users))


def judged(candidate: float, champion: float | None, popularity: float, users: int = USERS) -> Decision:
    return decide(case(candidate, champion, popularity, users), RULES, 0)


def said(decision: Decision, rule: str) -> RuleResult:
    return next(result for result in decision.rules if result.rule == rule)


def with_rule(name: str, on_fail: OnFail) -> GateRules:
    changed = RULES.rules[name].model_copy(update={"on_fail": on_fail})
    return RULES.model_copy(update={"rules": {**RULES.rules, name: changed}})


def test_the_first_version_that_beats_popularity_is_promoted() -> None:
    decision = judged(0.3, None, 0.1)
    assert decision.outcome == "promoted"
    assert {rule.verdict for rule in decision.rules} <= {"passed", "undecided"}
    assert said(decision, "champion").reason == "no version is served yet: nothing to compare with"


def test_what_does_not_clearly_beat_popularity_is_refused_with_the_numbers() -> None:
    decision = judged(0.1, None, 0.1)
    assert decision.outcome == "refused"
    assert decision.reasons.startswith("popularity: failed: ndcg@10 ")
    assert "against popularity, lower bound must be above 0" in decision.reasons


def test_what_finds_nothing_is_below_the_minimum() -> None:
    decision = decide(evidence(np.zeros(USERS), None, np.zeros(USERS)), RULES, 0)
    assert said(decision, "minimum").reason == "ndcg@10 0.0000, at least 0.001 needed"
    assert decision.outcome == "refused"


@pytest.mark.parametrize(
    ("candidate", "verdict", "outcome"),
    [(0.36, "better", "promoted"), (0.33, "not worse", "promoted"), (0.3, "worse", "refused")],
)
def test_a_candidate_stands_beside_the_champion(candidate: float, verdict: str, outcome: str) -> None:
    decision = judged(candidate, 0.33, 0.1)
    assert (said(decision, "champion").verdict, decision.outcome) == (verdict, outcome)
    assert decision.to_json()["verdict"] == verdict


@pytest.mark.parametrize("on_fail", ["refuse", "human", "warn"])
def test_what_is_clearly_worse_is_refused_whatever_the_file_says(on_fail: OnFail) -> None:
    decision = decide(case(0.3, 0.33, 0.1), with_rule("champion", on_fail), 0)
    assert (said(decision, "champion").verdict, decision.outcome) == ("worse", "refused")
    few = decide(case(0.3, 0.33, 0.1, users=99), with_rule("champion", on_fail), 0)
    assert said(few, "champion").outcome == ("promoted" if on_fail == "warn" else "needs_human")


def test_the_same_model_again_is_not_worse() -> None:
    same = scores(0.3)
    decision = decide(evidence(same, same, scores(0.1)), RULES, 0)
    assert said(decision, "champion").verdict == "not worse"
    assert decision.outcome == "promoted"


def test_only_what_is_better_is_promoted_where_the_file_says_so() -> None:
    strict = RULES.model_copy(update={"promote": "better"})
    assert decide(case(0.36, 0.33, 0.1), strict, 0).outcome == "promoted"
    assert decide(case(0.33, None, 0.1), strict, 0).outcome == "promoted"
    decision = decide(case(0.33, 0.33, 0.1), strict, 0)
    assert decision.outcome == "needs_human"
    assert "this is 'not worse'" in said(decision, "promote").reason


def test_an_absolute_margin_holds_beside_a_relative_one() -> None:
    champion = RULES.rules["champion"].model_copy(update={"margin": 0.05, "absolute_margin": 0.001})
    both = RULES.model_copy(update={"rules": {**RULES.rules, "champion": champion}})
    result = said(decide(case(0.33, 0.33, 0.1), both, 0), "champion")
    assert result.verdict == "too few users"
    assert "0.0010 may be lost" in result.reason
    assert result.needed is not None
    assert result.needed >= 4.74 / 0.001


def test_too_few_users_need_a_human_and_the_count_is_told() -> None:
    decision = judged(0.3, 0.2, 0.1, users=99)
    assert decision.outcome == "needs_human"
    assert "99 users judged, 100 needed" in decision.reasons


def test_the_next_step_names_the_command_with_the_versions_number() -> None:
    assert "`python -m training promote 7`" in said(judged(0.3, 0.2, 0.1, users=99).about("7"), "champion").next_step


def test_nobody_to_judge_needs_a_human() -> None:
    decision = judged(0.3, 0.2, 0.1, users=0)
    assert decision.outcome == "needs_human"
    assert "0 users judged: the data of this run hold no one who came back after" in decision.reasons


def test_a_champion_that_cannot_be_judged_needs_a_human() -> None:
    decision = decide(replace(case(0.3, None, 0.1), why_no_champion="its files are gone"), RULES, 0)
    assert decision.outcome == "needs_human"
    assert said(decision, "champion").verdict == "undecided"
    assert said(decision, "champion").reason == "its files are gone"


def test_one_seed_one_decision() -> None:
    assert judged(0.3, 0.29, 0.1) == judged(0.3, 0.29, 0.1)


def test_values_of_other_users_are_refused() -> None:
    known = replace(case(0.3, None, 0.1), popularity=values(scores(0.1, users=200)))
    with pytest.raises(ContractError, match="300 users of the candidate, 200 of the popularity"):
        decide(known, RULES, 0)


def test_a_missing_metric_is_named() -> None:
    known = with_candidate(case(0.3, None, 0.1), values={"recall@20": scores(0.3)})
    with pytest.raises(ContractError, match="candidate's metrics hold"):
        decide(known, RULES, 0)


def part_without(known: Evidence) -> Evidence:
    """Return the evidence with a part of the users for which the candidate finds next to nothing."""
    return with_champion(known, segments={"users with 1-2 events": {"ndcg@10": (scores(0.06), scores(0.3, 2))}})


@pytest.mark.parametrize(
    ("rule", "outcome", "change", "reason"),
    [
        ("snapshot", "refused", lambda known: replace(known, changed="other bytes"), "other bytes"),
        ("leak", "refused", lambda known: replace(known, leaks=("saw it all",)), "saw it all"),
        (
            "freshness",
            "refused",
            lambda known: with_candidate(known, trained_until_us=START_US - 30 * DAY_US),
            "30.0 days before 2024-10-04 00:00 UTC",
        ),
        (
            "volume",
            "refused",
            lambda known: with_candidate(known, interactions=1_000),
            "learned from 1,000 of the 10,000",
        ),
        ("items", "refused", lambda known: with_champion(known, items=Held(44, 50)), "knows 44 of 50 (88.0%)"),
        (
            "categories",
            "refused",
            lambda known: with_champion(
                known, categories={"drama": Held(20, 20), "war": Held(0, 9), "few": Held(0, 4)}
            ),
            "1 of the champion's 2 categories hold less than 50% of its items: war: 0 of 9 (0.0%)",
        ),
        ("segments", "needs_human", part_without, "ndcg@10, users with 1-2 events -0.2"),
        ("coverage", "needs_human", lambda known: with_candidate(known, shown_items=79), "79 different items"),
        (
            "popularity_bias",
            "needs_human",
            lambda known: with_candidate(known, average_popularity=0.026),
            "known to 2.60% of the users on average, the champion's to 2.00%",
        ),
        ("size", "needs_human", lambda known: with_candidate(known, size_mb=61.0), "3.05 times the champion's"),
        ("latency", "needs_human", lambda known: with_candidate(known, latency_ms=11.0), "11.00 ms a list"),
        (
            "serving path",
            "needs_human",
            lambda known: replace(known, serving_path=RuleResult("any", "failed", "skewed", "mend it")),
            "skewed",
        ),
    ],
)
def test_each_rule_stops_what_it_is_for_and_tells_the_next_step(
    rule: str, outcome: str, change: Change, reason: str
) -> None:
    known = case(0.33, 0.33, 0.1)
    assert decide(known, RULES, 0).outcome == "promoted"
    decision = decide(change(known), RULES, 0)
    assert decision.outcome == outcome
    assert {result.rule for result in decision.rules if not result.met} == {rule}
    assert reason in said(decision, rule).reason
    assert said(decision, rule).next_step
    assert decide(change(known), with_rule(rule, "warn"), 0).outcome == "promoted"
    assert decide(change(known), with_rule(rule, "human"), 0).outcome == "needs_human"
    assert decide(change(known), with_rule(rule, "refuse"), 0).outcome == "refused"


def test_a_slower_list_means_nothing_as_long_as_it_is_quick() -> None:
    known = with_candidate(case(0.33, 0.33, 0.1), latency_ms=9.9)
    assert decide(known, RULES, 0).outcome == "promoted"


def diagnosed(outcome: Outcome) -> Diagnosis:
    finding = Finding(
        name="bots", purpose="", outcome=outcome, count=1, of=2, threshold=0, told="one bot", examples=[],
        next_step="remove it", took_ms=1,
    )  # fmt: skip
    return Diagnosis(blocked=outcome == "block", rows=2, sampled=2, percent=100, findings=[finding])


@pytest.mark.parametrize(
    ("found", "severity", "verdict"),
    [
        ("ok", "warn", "passed"),
        ("unfinished", "warn", "passed"),
        ("warn", "block", "passed"),
        ("warn", "warn", "failed"),
        ("block", "block", "failed"),
    ],
)
def test_the_data_doctor_stops_by_its_severity(found: Outcome, severity: str, verdict: str) -> None:
    data = RULES.rules["data"].model_copy(update={"severity": severity})
    asked = RULES.model_copy(update={"rules": {**RULES.rules, "data": data}})
    result = said(decide(replace(case(0.33, 0.33, 0.1), doctor=diagnosed(found)), asked, 0), "data")
    assert result.verdict == verdict
    assert result.next_step == ("remove it" if verdict == "failed" else "")
    assert (found in {"warn", "block"}) == ("bots" in result.reason)


def test_of_several_parts_each_says_whether_it_holds_and_those_that_do_not_come_first() -> None:
    parts = {name: {"ndcg@10": (scores(ours), scores(0.3, 2))} for name, ours in (("held", 0.3), ("lost", 0.06))}
    segments = said(decide(with_champion(case(0.33, 0.33, 0.1), segments=parts), RULES, 0), "segments")
    assert [(part.name, part.met) for part in segments.intervals] == [("ndcg@10, lost", False), ("ndcg@10, held", True)]


def test_a_rule_about_parts_is_not_met_by_parts_that_nobody_could_look_at() -> None:
    known = case(0.33, 0.33, 0.1)
    small = {"users with 1-2 events": {"ndcg@10": (scores(0.06, users=99), scores(0.3, 2, users=99))}}
    for parts, count in ((small, 1), ({}, 0)):
        decision = decide(with_champion(known, segments=parts), RULES, 0)
        assert decision.outcome == "needs_human"
        assert {result.rule for result in decision.rules if not result.met} == {"segments"}
        assert said(decision, "segments").verdict == "undecided"
        assert said(decision, "segments").reason == f"none of {count} parts holds 100 users: too few to tell"
        assert said(decision, "segments").next_step
    of_one = decide(with_champion(known, segments=small), RULES.model_copy(update={"min_users": 99}), 0)
    assert said(of_one, "segments").verdict == "failed"
