"""The feature spec: names, meanings and order of a ranker's columns, and the hash that bundle and server compare."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Final

VECTORIZE_VERSION: Final = 1
"""Raised whenever `features.vectorize` computes a feature differently under the same name."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the ranker: name, what it means, its unit, and which input it comes from. NaN means unknown."""

    name: str
    meaning: str
    unit: str
    origin: str


@dataclass(frozen=True)
class FeatureSpec:
    """The columns of a ranker in their order."""

    features: tuple[Feature, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the column names in order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def digest(self) -> str:
        """Return SHA-256 over all columns and the version of the code that computes them, as hex."""
        content = {"vectorize": VECTORIZE_VERSION, "features": [asdict(feature) for feature in self.features]}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self.features)


def source_features(sources: Sequence[str]) -> list[Feature]:
    """Return the two columns that each candidate source gives."""
    return [
        feature
        for source in sources
        for feature in (
            Feature(f"{source}_rank", f"rank of the item in the user's list from {source}", "1 = best", source),
            Feature(
                f"{source}_relative",
                f"score of the item from {source} over the score of that list's tenth item",
                "ratio",
                source,
            ),
        )
    ]
