"""What diversity costs in NDCG@10 and gains in variety, by its strength, on two public data sets."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.quality import DATA, rounded, written
from benchmarks.record import RESULTS, data_for, record
from features.contracts.profiles import Options
from training.backtest import Cut, judged, know, training_of
from training.config import RankerConfig, TrainingConfig
from training.evaluation.diversity import AtStrength, judge_diversity
from training.fit import fit
from training.frames import load_interactions
from training.list_plots import plot_diversity

SETS: Final = ("ml-latest-small", "goodbooks")
SMALL: Final = RankerConfig(users_per_slice=800)
"""What is compared is the same line at several strengths: a ranker that learned of fewer users does for that."""
SEED: Final = 0


def run() -> None:
    """Measure both data sets, and record figures and a plot."""
    folder = data_for("diversity")
    if folder is None:
        return
    found = {}
    for name in SETS:
        print(f"diversity: {name}", flush=True)
        found[name] = measure(folder, name)
    record("diversity", rounded({name: [entry.to_json() for entry in lists] for name, lists in found.items()}))
    (RESULTS / "diversity.png").write_bytes(plot_diversity(found))


def measure(folder: Path, name: str) -> list[AtStrength]:
    """Return what lists of users' last fifths are worth at each strength."""
    prepared = DATA[name](folder)
    cut = Cut(holdout=float(prepared[2][1]))
    with TemporaryDirectory() as work:
        rows, items = written(prepared, Path(work))
        loaded = load_interactions(rows)
        known = know(loaded.interactions, cut)
        config = TrainingConfig(weights=loaded.weights, moments=2, ranker=SMALL, seed=SEED)
        training = training_of(known, items)
        parts, _ = fit(training, known.moments(cut, config), config)
    users = judged(known, known.all_later.user, cut, Options())
    return judge_diversity(parts.recommender(), users, seed=SEED)
