"""What several steps read from a run's folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.build.snapshot import ITEMS_FILE
from features.contracts.ids import IdMap
from features.contracts.parts import FOLDER
from features.contracts.weights import ActionWeights
from features.text.files import read_encoder
from training.als import AlsConfig
from training.bundle.bundle import Bundle
from training.bundle.names import BUNDLE_FOLDER
from training.bundle.read import open_bundle
from training.catalogue import came_at, load_facts
from training.config import TrainingConfig
from training.data import Interactions
from training.frames import catalogue_ids, load_categories, load_snapshot
from training.judging import in_items_of
from training.retrieval import Training
from training.split import known_before
from training.steps.runner import StepContext
from training.texts import ItemTexts, exported_texts, load_documents
from training.tuning.settings import with_values

SNAPSHOT: Final = Path("snapshot")
INTERACTIONS: Final = SNAPSHOT / FOLDER
"""Folder of parts by user."""
ITEMS: Final = SNAPSHOT / ITEMS_FILE
BUNDLE: Final = Path(BUNDLE_FOLDER)
VECTORS: Final = SNAPSHOT / "vectors.parquet"
ENCODERS: Final = SNAPSHOT / "encoders"
"""Holds the encoder of the run's texts, in a folder named by its digest."""
ENCODER: Final = "encoder"
"""Name of its digest in the record of the step `snapshot`."""
DIGEST: Final = "sha256"
FILES: Final = "files"
ROWS: Final = "rows"
"""Names, in that record, of the digest over all files of the snapshot, of the SHA-256 of each by its path, and of the
rows of each part of the interactions."""
TRAINED_UNTIL: Final = "trained_until_us"
"""Name of where fitting ends, in the record of the step `retrieval`."""
JUDGED_FROM: Final = "judged_from_us"
"""Name of where it is to end, in the record of the step `snapshot`: of a run that does again what another has done."""
TUNED: Final = "tuned"
"""Name of the settings that were found, by path, in the record of the step `retrieval`."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The snapshot of a run in arrays, and the configuration that its options and values lead to.

    `encoder` is the folder, named by digest, of the encoder that reads the catalogue's texts, None without texts;
    `vectors_file` holds what it made of them.
    """

    interactions: Interactions
    config: TrainingConfig
    items_file: Path
    encoder: Path | None
    vectors_file: Path

    def training(self, until_us: int, texts: ItemTexts | None = None, items: IdMap | None = None) -> Training:
        """Return what is learned from: the interactions before a time, and the catalogue.

        The items are those that they touch and, where texts are read, all others of the catalogue; or those given,
        that another step has chosen. An erasure between the two may have taken an item's last rows away.
        """
        known = self.interactions.take(known_before(self.interactions, until_us))
        if items is not None:
            known = in_items_of(known, items)
        elif self.encoder is None:
            known = known.with_items_of_rows()
        else:
            known = known.with_items_of_rows().with_more_items(catalogue_ids(self.items_file))
        categories, facts = load_categories(self.items_file, known.items), load_facts(self.items_file, known.items)
        return Training(known, categories, facts, until_us, texts, came_at(self.items_file, known.items))

    def texts(self, items: IdMap) -> ItemTexts | None:
        """Return content vectors and search index of some items, None where no encoder reads them."""
        if self.encoder is None:
            return None
        encoder = read_encoder(self.encoder, self.encoder.name)
        return exported_texts(self.vectors_file, encoder, items, load_documents(self.items_file, items))


def read_inputs(context: StepContext) -> Inputs:
    """Return the snapshot of the run."""
    snapshot = context.run.finished("snapshot").results
    weights = ActionWeights.from_json(snapshot["weights"])
    loaded = load_snapshot(context.run.path / SNAPSHOT, weights).require_weights(context.run.path / INTERACTIONS)
    config = training_config(context, weights)
    digest = snapshot.get(ENCODER)
    encoder = None if digest is None else context.run.path / ENCODERS / digest
    return Inputs(loaded.interactions, config, context.run.path / ITEMS, encoder, context.run.path / VECTORS)


def training_config(context: StepContext, weights: ActionWeights) -> TrainingConfig:
    """Return the configuration of a run: its options, and the settings that the step `retrieval` found, if it did."""
    options, fitted = context.options, context.run.record("retrieval")
    config = TrainingConfig(
        als=AlsConfig(factors=options.factors),
        weights=weights,
        exclude_seen=options.exclude_seen,
        new_items=bool(context.run.finished("snapshot").results.get(ENCODER)),
        seed=options.seed,
    )
    return config if fitted is None else with_values(config, fitted.results.get(TUNED, {}))


def trained_until_us(context: StepContext) -> int:
    """Return where fitting ended in this run: the start of its judging window."""
    return int(context.run.finished("retrieval").results[TRAINED_UNTIL])


def read_bundle(context: StepContext) -> Bundle:
    """Return the bundle of the run, verified against the digest that the step `ranker` recorded."""
    return open_bundle(context.run.path / BUNDLE, str(context.run.finished("ranker").results["digest"]))
