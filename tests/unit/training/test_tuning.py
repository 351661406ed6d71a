from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.contracts.errors import ContractError
from features.contracts.facts import ItemFacts
from tests.support.synthetic import SMALL, make_categories, make_facts, make_interactions, make_texts
from training.cli.backtest_tuning import check_tuning
from training.moments import position_moments
from training.retrieval import Training
from training.tuning.search import OtherOriginError
from training.tuning.settings import value_of
from training.tuning.tune import Budget, difference, origin_of, shares, tune

CONFIG = replace(SMALL, threads=1, candidates=40, ranker=replace(SMALL.ranker, trees=3, objectives=("binary",)))


def _training(seed: int = 0) -> Training:
    interactions = make_interactions(seed).on_backtest_clock()
    return Training(interactions, make_categories(), make_facts(), int(interactions.at_us[-1]) + 1)


def test_a_search_tells_all_its_trials_and_few_users_do_not_move_the_settings(tmp_path: Path) -> None:
    training = _training()
    moments = position_moments(training.interactions, 0.2, 2)
    told: list[str] = []
    found = tune(training, moments, CONFIG, Budget(6, tmp_path, tell=lambda trial: told.append(trial.name)))
    assert told == ["als-000", "als-001", "ranker-000", "ranker-001", "ranker-002", "ranker-003"]
    assert [trial.name for trial in found.trials] == told
    assert found.verdict.users < 50
    assert (found.config, found.values) == (CONFIG, {})
    assert found.reproducible
    again = tune(training, moments, CONFIG, Budget(6, tmp_path))
    assert again.trials == found.trials
    assert again.verdict == found.verdict


def test_a_time_limit_is_told(tmp_path: Path) -> None:
    training = _training()
    moments = position_moments(training.interactions, 0.2, 2)
    found = tune(training, moments, CONFIG, Budget(6, tmp_path, minutes=0))
    assert not found.trials
    assert not found.reproducible
    assert found.config == CONFIG


def test_without_a_moment_there_is_nothing_to_search_on(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"1200 interactions are too few to search settings on: .* such as 5"):
        tune(_training(), [], CONFIG, Budget(6, tmp_path))


def test_every_trial_counts_and_too_few_go_to_the_ranker_alone() -> None:
    for trials in range(60):
        assert sum(shares(trials, CONFIG).values()) <= trials
    assert shares(2, CONFIG) == {}
    assert "als" not in shares(40, replace(CONFIG, without=("als",)))


def test_searches_of_other_data_or_settings_have_other_origins() -> None:
    origin = origin_of(_training(), CONFIG, 6)
    assert origin == origin_of(_training(), CONFIG, 6)
    assert origin != origin_of(_training(seed=1), CONFIG, 6)
    assert origin != origin_of(_training(), replace(CONFIG, seed=1), 6)


def test_nor_do_searches_by_another_catalogue_go_on() -> None:
    known = _training()
    others = [
        replace(known, categories=replace(known.categories, names=("a", "b", "c", "d"))),
        replace(known, facts=ItemFacts.unknown(len(known.interactions.items))),
        replace(known, texts=make_texts()),
        replace(known, came_at=np.full(len(known.interactions.items), "2026-01-01", "datetime64[us]")),
    ]
    assert len({origin_of(training, CONFIG, 6) for training in (known, *others)}) == 5


def test_a_search_of_another_length_does_not_go_on_with_trials_on_other_candidates(tmp_path: Path) -> None:
    training = _training()
    moments = position_moments(training.interactions, 0.2, 2)
    tune(training, moments, CONFIG, Budget(3, tmp_path))
    with pytest.raises(OtherOriginError, match=r"a search of another length \(3 trials on .*; now 6 trials on"):
        tune(training, moments, CONFIG, Budget(6, tmp_path))


def test_the_difference_names_the_settings_that_moved() -> None:
    other = replace(CONFIG, als=replace(CONFIG.als, factors=16), ease_regularization=7.0)
    assert difference(CONFIG, other) == {"als.factors": 16, "ease_regularization": 7.0}
    assert value_of(other, "als.factors") == np.int64(16)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"trials": 0, "minutes": 5.0, "rolling": 1, "interactions": Path("f")}, "--tune TRIALS"),
        ({"trials": 5, "minutes": None, "rolling": 3, "interactions": Path("f")}, "--rolling"),
        ({"trials": 5, "minutes": None, "rolling": 1, "interactions": None}, "--interactions"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object], what: str) -> None:
    with pytest.raises(ContractError, match=what):
        check_tuning(**options)  # type: ignore[arg-type]
