"""What diversity costs in NDCG@10 and gains in variety, by its strength, on two public data sets."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.quality import DATA, rounded
from benchmarks.record import RESULTS, record, shared_data
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
    folder = shared_data()
    if folder is None:
        print("diversity: skipped, there is no folder of public data beside the checkout (set MARQUEE_SHARED_DATA)")
        return
    found = {}
    for name in SETS:
        print(f"diversity: {name}", flush=True)
        found[name] = measure(folder, name)
    record("diversity", rounded({name: [entry.to_json() for entry in lists] for name, lists in found.items()}))
    (RESULTS / "diversity.png").write_bytes(plot_diversity(found))


def measure(folder: Path, name: str) -> list[AtStrength]:
    """Return what lists of users' last fifths are worth at each strength."""
    frame, items, (_, share) = DATA[name](folder)
    cut = Cut(holdout=float(share))
    with TemporaryDirectory() as work:
        frame.to_parquet(Path(work) / "interactions.parquet")
        file = Path(work) / "items.parquet"
        if items is not None:
            items.to_parquet(file)
        loaded = load_interactions(Path(work) / "interactions.parquet")
        known = know(loaded.interactions, cut)
        config = TrainingConfig(weights=loaded.weights, moments=2, ranker=SMALL, seed=SEED)
        training = training_of(known, None if items is None else file)
        parts, _ = fit(training, known.moments(cut, config), config)
    users = judged(known, known.all_later.user, cut, Options())
    return judge_diversity(parts.recommender(), users, seed=SEED)
