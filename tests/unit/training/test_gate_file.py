"""The gate's file: what is shipped is whole, another one changes only what it says, and what is wrong is named."""

import re
from pathlib import Path
from typing import get_args

import pytest

from features.contracts.errors import ContractError
from training.gating.rules import NotWorseThanChampion, Rule
from training.gating.rules_file import SHIPPED, load_rules
from training.judging import WANTED_USERS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gate.yaml"


def test_what_is_shipped_asks_every_kind_of_rule_and_explains_each() -> None:
    rules = load_rules()
    kinds = {kind.model_fields["kind"].annotation.__args__[0] for kind in get_args(Rule)}
    assert {rule.kind for rule in rules.rules.values()} == kinds
    text = SHIPPED.read_text(encoding="utf-8")
    for name in rules.rules:
        assert re.search(rf"^  #.*\n(  #.*\n)*  {name}: ", text, re.MULTILINE), name
    assert rules.window_users == WANTED_USERS


def test_a_file_changes_only_what_it_says(file: Path) -> None:
    file.write_text("promote: better\nrules: {champion: {margin: 0.1}, latency: null}", encoding="utf-8")
    rules, shipped = load_rules(file), load_rules()
    assert rules.promote == "better"
    assert "latency" not in rules.rules
    changed, before = rules.rules["champion"], shipped.rules["champion"]
    assert isinstance(changed, NotWorseThanChampion)
    assert (changed.margin, changed.metric, changed.on_fail) == (0.1, "ndcg@10", "refuse")
    assert {**rules.rules, "champion": before, "latency": shipped.rules["latency"]} == shipped.rules


def test_a_file_may_add_rules_and_an_empty_one_adds_none(file: Path) -> None:
    file.write_text("rules: {hits: {kind: minimum, metric: hit_rate@10, at_least: 0.2, on_fail: human}}", "utf-8")
    assert load_rules(file).rules.keys() - load_rules().rules.keys() == {"hits"}
    file.write_text("", "utf-8")
    assert load_rules(file) == load_rules()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("rules: {champion: {margin: 7}}", "rules.champion.margin: Input should be less than 1, found 7"),
        ("rules: {champion: {margn: 0.1}}", "rules.champion.margn: Extra inputs are not permitted, found 0.1"),
        ("rules: {champion: {margin: null}}", "rules.champion: Value error, margin and absolute_margin are both null"),
        ("rules: {champion: {on_fail: maybe}}", "rules.champion.on_fail: Input should be 'refuse', 'human' or 'warn'"),
        ("rules: {champion: {metric: ndcg@5}}", "rules.champion.metric: Input should be 'ndcg@10', 'recall@20' or"),
        ("rules: {mine: {on_fail: warn}}", "rules.mine: Unable to extract tag using discriminator 'kind'"),
        ("rules: {mine: {kind: best}}", "rules.mine: Input tag 'best' found"),
        ("rules: {size: {kind: coverage}}", "rules.size.min_ratio: Field required"),
        ("rules: {Mine!: {kind: no_leak}}", "String should match pattern"),
        ("promote: always", "promote: Input should be 'not_worse' or 'better', found 'always'"),
        ("{promote: better, rules: {champion: null}}", "promote: better needs a rule of kind not_worse_than_champion"),
        ("min_user: 5", "min_user: Extra inputs are not permitted, found 5"),
        ("rules: [1]", "holds {'rules': [1]}; expected YAML such as"),
        ("just words", "holds 'just words'; expected YAML such as"),
        ("a: [", "expected YAML such as `rules: {champion: {margin: 0.05}}`"),
    ],
)
def test_what_is_wrong_is_told_with_file_member_value_and_way_out(file: Path, content: str, told: str) -> None:
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ContractError, match=re.escape(told)) as error:
        load_rules(file)
    assert str(error.value).startswith(f"{file}: ")
    assert "{champion: {margin: 0.05}}" in str(error.value)


def test_a_gate_that_asks_nothing_is_refused(file: Path) -> None:
    file.write_text("rules: {" + ", ".join(f"{name}: null" for name in load_rules().rules) + "}", encoding="utf-8")
    with pytest.raises(ContractError, match="rules: Dictionary should have at least 1 item"):
        load_rules(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"none\.yaml: .*No such file"):
        load_rules(tmp_path / "none.yaml")
