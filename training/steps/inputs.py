"""What several steps read from a run's folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.contracts.weights import ActionWeights
from training.als import AlsConfig
from training.bundle.bundle import Bundle
from training.bundle.names import BUNDLE_FOLDER
from training.bundle.read import open_bundle
from training.catalogue import load_facts
from training.config import TrainingConfig
from training.data import Interactions
from training.frames import load_categories, load_interactions
from training.retrieval import Training
from training.steps.runner import StepContext
from training.tuning.settings import with_values

SNAPSHOT: Final = Path("snapshot")
INTERACTIONS: Final = SNAPSHOT / "interactions.parquet"
ITEMS: Final = SNAPSHOT / "items.parquet"
BUNDLE: Final = Path(BUNDLE_FOLDER)
TUNED: Final = "tuned"
"""Name of the settings that were found, by path, in the record of the step `retrieval`."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The snapshot of a run in arrays, and the configuration that its options and values lead to."""

    interactions: Interactions
    config: TrainingConfig
    items_file: Path

    def training(self, until_us: int) -> Training:
        """Return what is learned from: the interactions before a time, over the items that they touch."""
        rows = self.interactions.at_us < until_us
        known, _ = self.interactions.take(rows.nonzero()[0]).with_items_of_rows()
        categories, facts = load_categories(self.items_file, known.items), load_facts(self.items_file, known.items)
        return Training(known, categories, facts, until_us)


def read_inputs(context: StepContext) -> Inputs:
    """Return the snapshot of the run."""
    weights = ActionWeights.from_json(context.run.finished("snapshot").results["weights"])
    loaded = load_interactions(context.run.path / INTERACTIONS, weights)
    config = training_config(context, weights)
    return Inputs(loaded.interactions, config, context.run.path / ITEMS)


def training_config(context: StepContext, weights: ActionWeights) -> TrainingConfig:
    """Return the configuration of a run: its options, and the settings that the step `retrieval` found, if it did."""
    options, fitted = context.options, context.run.record("retrieval")
    config = TrainingConfig(
        als=AlsConfig(factors=options.factors),
        weights=weights,
        exclude_seen=options.exclude_seen,
        seed=options.seed,
    )
    return config if fitted is None else with_values(config, fitted.results.get(TUNED, {}))


def trained_until_us(context: StepContext) -> int:
    """Return where fitting ended in this run: the start of its judging window."""
    return int(context.run.finished("retrieval").results["trained_until_us"])


def read_bundle(context: StepContext) -> Bundle:
    """Return the bundle of the run, verified against the digest that the step `ranker` recorded."""
    return open_bundle(context.run.path / BUNDLE, str(context.run.finished("ranker").results["digest"]))
