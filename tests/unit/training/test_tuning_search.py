import signal
import subprocess
import sys
from pathlib import Path

import pytest

from features.contracts.errors import ContractError
from tests.support import searching
from tests.support.searching import KNOBS, score, search
from training.config import TrainingConfig
from training.tuning.journal import FILE, open_journal
from training.tuning.search import Searcher
from training.tuning.settings import value_of
from training.tuning.trials import Trial


def _found(trials: list[Trial]) -> list[tuple[str, dict[str, float], float]]:
    return [(trial.name, trial.values, trial.score) for trial in trials]


def test_a_killed_search_goes_on_and_finds_what_an_unbroken_one_finds(tmp_path: Path) -> None:
    program = [sys.executable, searching.__file__, str(tmp_path / "killed"), "8", "6"]
    killed = subprocess.run(program, check=False, cwd=Path.cwd(), env={"PYTHONPATH": "."})
    assert killed.returncode == -signal.SIGKILL
    with (tmp_path / "killed" / FILE).open("ab") as journal:
        journal.write(b'{"half a li')  # as if it had died while it wrote
    unbroken = search(tmp_path / "unbroken", 8)
    assert _found(search(tmp_path / "killed", 8)) == _found(unbroken)
    assert len(unbroken) == 8


def test_the_first_trial_is_what_is_in_force_and_the_best_is_returned(tmp_path: Path) -> None:
    told: list[Trial] = []
    with open_journal(tmp_path) as storage:
        best = Searcher(storage, "o", 3, tell=told.append).best("als", KNOBS, 12, TrainingConfig(), score)
    default = TrainingConfig()
    assert told[0].values == {"als.factors": default.als.factors, "als.regularization": default.als.regularization}
    assert score(best) == max(trial.score for trial in told) > told[0].score
    assert isinstance(value_of(best, "als.factors"), int)


def test_one_seed_gives_one_sequence_and_another_seed_another(tmp_path: Path) -> None:
    first, again, other = (_found(search(tmp_path / name, 5, seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert first == again
    assert first[1:] != other[1:]


def test_trials_of_other_data_are_refused(tmp_path: Path) -> None:
    search(tmp_path, 1, origin="1000 interactions")
    with pytest.raises(ContractError, match="1000 interactions"):
        search(tmp_path, 2, origin="2000 interactions")


def test_two_searches_do_not_share_a_folder_at_once(tmp_path: Path) -> None:
    with open_journal(tmp_path), pytest.raises(ContractError, match="another process"):
        search(tmp_path, 1)


def test_after_the_deadline_no_trial_begins(tmp_path: Path) -> None:
    with open_journal(tmp_path) as storage:
        best = Searcher(storage, "o", 0, deadline=0.0).best("als", KNOBS, 5, TrainingConfig(), score)
    assert best == TrainingConfig()
