"""Onboarding, played through on held-out users of three public data sets: what is shown, who finds what they like."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.quality import DATA, rounded, written
from benchmarks.record import RESULTS, data_for, record
from training.backtest import Known, training_of
from training.config import TrainingConfig
from training.evaluation.onboarding import Onboarding, held_out_tastes, hold_out_users, judge_onboarding
from training.frames import load_interactions
from training.list_plots import plot_onboarding
from training.retrieval import fit_retrieval

SETS: Final = ("ml-latest-small", "goodbooks", "movietweetings-100k")
HELD_OUT: Final = 0.3
"""Share of the users whom training does not see."""
MOST_USERS: Final = 1_500
SHOWN: Final = 20
SEED: Final = 0


def run() -> None:
    """Measure all of them, and record figures and a plot."""
    folder = data_for("onboarding")
    if folder is None:
        return
    found = {}
    for name in SETS:
        print(f"onboarding: {name}", flush=True)
        found[name] = measure(folder, name)
    record("onboarding", rounded({name: judged.to_json() for name, judged in found.items()}))
    (RESULTS / "onboarding.png").write_bytes(plot_onboarding(found))


def measure(folder: Path, name: str) -> Onboarding:
    """Return how users whom retrieval never saw fare, by what they are shown."""
    with TemporaryDirectory() as work:
        rows, items = written(DATA[name](folder), Path(work))
        loaded = load_interactions(rows)
        kept, held_out = hold_out_users(loaded.interactions, HELD_OUT, SEED)
        history = kept.on_backtest_clock()
        known = Known(history, held_out, held_out, int(history.at_us[-1]) + 1)
        training = training_of(known, items)
        parts = fit_retrieval(training, TrainingConfig(weights=loaded.weights, seed=SEED))
    return judge_onboarding(parts, held_out_tastes(held_out, SEED, MOST_USERS), k=SHOWN, seed=SEED)
