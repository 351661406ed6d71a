"""The two versions of a diff, opened, and lists of both in one space of items."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING, IdMap
from features.contracts.profiles import Options
from features.items import Categories
from training.bundle.bundle import Bundle
from training.bundle.read import open_bundle
from training.bundle.registry import Registry
from training.bundle.result import Recommendations
from training.bundle.versions import RegisteredVersion
from training.data import Interactions
from training.frames import Loaded
from training.judging import in_items_of, read_by
from training.lists import recommend_all

Lists = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two versions."""

    version: RegisteredVersion
    bundle: Bundle

    @property
    def name(self) -> str:
        """Return what tables call it."""
        return f"version {self.version.version}"

    @cached_property
    def size(self) -> int:
        """Return the bytes that its bundle takes on disk, without the manifest."""
        return sum(file.size for file in self.bundle.manifest.files.values())

    def history(self, loaded: Loaded) -> Interactions:
        """Return interactions as this version reads them: by its own weights, of the items that it holds."""
        return in_items_of(read_by(loaded, self.bundle.parts.weights), self.bundle.items)

    def recommend(self, history: Interactions, users: npt.NDArray[np.int32], as_of_us: int, k: int) -> Recommendations:
        """Return the lists of users at one moment, as they would be served; a history as above."""
        moments = np.full(len(users), as_of_us, dtype=np.int64)
        return recommend_all(self.bundle.recommender, history, users, moments, Options(k=k))


def open_side(registry: Registry, version: RegisteredVersion, folder: Path) -> Side:
    """Return a version with its bundle downloaded below a folder, verified and opened.

    Raises
    ------
    BundleError
        If it is not the bundle of its digest, or of another feature spec than this code computes.
    """
    bundle = open_bundle(registry.download(version.version, folder / version.version), str(version.digest))
    return Side(version, bundle)


@dataclass(frozen=True, eq=False)
class Together:
    """The items of both versions: `ids` those of the second one first; `places` of each version's items among them."""

    ids: IdMap
    places: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]

    @classmethod
    def of(cls, first: IdMap, second: IdMap) -> "Together":
        """Return the items of two versions."""
        ours, theirs = (items.external(np.arange(len(items))) for items in (first, second))
        ids = IdMap([*theirs, *(item for item in ours if item not in second)])
        return cls(ids, (ids.index(ours), ids.index(theirs)))

    def lists(self, found: Recommendations, side: int) -> Lists:
        """Return a version's lists (n_users, k) in the common space, `MISSING` where they are short."""
        return np.where(found.items == MISSING, MISSING, self.places[side][found.items]).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What is said of the items of both versions: titles by external id, and categories in the common order."""

    titles: Mapping[str, str]
    categories: Categories

    def named(self, ids: IdMap, items: npt.NDArray[np.integer]) -> Iterator[str]:
        """Yield the titles of items, or their ids where they have none."""
        return (self.titles.get(item) or item for item in ids.external(items))
