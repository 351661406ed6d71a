"""A bundle with a ranker, trained in seconds on ratings that have landed."""

import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from features.build.snapshot import write_snapshot
from features.contracts.events import Event
from features.settings import Settings
from tests.support.landing import interaction
from tests.support.synthetic import SMALL, with_ranker
from training.bundle.bundle import Bundle
from training.bundle.read import open_bundle
from training.bundle.write import write_bundle
from training.catalogue import load_facts
from training.fit import fit
from training.frames import load_categories, load_interactions
from training.moments import position_moments
from training.retrieval import Training


def rated(number: int, rng: np.random.Generator) -> Event:
    """Return a rating within the last 30 days, of an item that mostly fits its user."""
    at = time.time() - 30 * 86_400 * (1 - number / 3_000)
    item = int(rng.integers(12)) * 4 + number % 4 if rng.random() < 0.8 else int(rng.integers(48))
    return interaction(
        number,
        user_id=f"u{number % 40}",
        item_id=f"i{item}",
        action="rating",
        value=float(rng.integers(2, 11)) / 2,
        occurred_at=datetime.fromtimestamp(at, UTC).isoformat(),
    )


def train(settings: Settings, folder: Path) -> Bundle:
    """Return a bundle trained on everything that has landed."""
    (folder / "snapshot").mkdir()
    write_snapshot(settings, folder / "snapshot")
    loaded = load_interactions(folder / "snapshot" / "interactions")
    categories = load_categories(None, loaded.interactions.items)
    facts = load_facts(folder / "snapshot" / "items.parquet", loaded.interactions.items)
    training = Training(loaded.interactions, categories, facts, int(loaded.interactions.known_us.max()) + 1)
    parts, ranker = fit(training, position_moments(loaded.interactions, 0.2, 2), SMALL)
    ready = with_ranker(parts, ranker)
    digest = write_bundle(folder / "bundle", ready, created_at=datetime.now(UTC), code_version="test", seed=0)
    return open_bundle(folder / "bundle", digest)
