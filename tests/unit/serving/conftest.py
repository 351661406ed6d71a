"""A registry on a shelf: versions in memory, their bundles real and small."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from features.contracts.errors import UnavailableError
from serving.bundle_cache import BundleCache
from serving.bundle_loader import BundleLoader
from serving.bundle_slot import BundleSlot
from tests.support.tiny_bundle import write_tiny_bundle
from training.bundle.read import check_golden, open_bundle, verify_bundle
from training.bundle.versions import ALIAS_PREVIOUS, NotThereError, RegisteredVersion

ALIAS = "champion"


class Shelf:
    """A registry whose alias is moved, and whose server is taken away, by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions: dict[str, RegisteredVersion] = {}
        self.champion: str | None = None
        self.previous: str | None = None
        self.away = False
        self.downloads: list[str] = []

    def put(self, version: str, seed: int = 0, *, tagged: bool = True) -> RegisteredVersion:
        """Add a version and let the alias point to it."""
        digest = write_tiny_bundle(self.folder / version, seed)
        self.versions[version] = RegisteredVersion(version, digest if tagged else None, f"run-{version}")
        self.champion = version
        return self.versions[version]

    def by_alias(self, alias: str) -> RegisteredVersion | None:
        """Return the version that an alias points to."""
        if self.away:
            raise UnavailableError("MLflow is away")
        version = {ALIAS: self.champion, ALIAS_PREVIOUS: self.previous}[alias]
        if version is not None and version not in self.versions:
            raise NotThereError(f"the alias {alias!r} points to version {version}: it is not there")
        return None if version is None else self.versions[version]

    def download(self, version: str, folder: Path) -> Path:
        """Return a copy of the files."""
        self.downloads.append(version)
        return Path(shutil.copytree(self.folder / version, folder / "bundle"))


class Hand:
    """A clock that is turned by hand, in microseconds."""

    now_us = 1_000_000_000

    def __call__(self) -> int:
        """Return the time."""
        return self.now_us


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Return an empty registry."""
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def hand() -> Hand:
    """Return a clock."""
    return Hand()


@pytest.fixture
def new_slot(shelf: Shelf, hand: Hand, tmp_path: Path) -> Callable[[], BundleSlot]:
    """Return a function that makes a slot over the same cache, as a restarted server does."""

    def check(path: Path, digest: str) -> None:
        check_golden(open_bundle(path, digest))

    def make() -> BundleSlot:
        cache = BundleCache(tmp_path / "cache")
        loader = BundleLoader(shelf, cache, verify=verify_bundle, check=check, open_bundle=open_bundle, clock=hand)
        return BundleSlot(shelf, ALIAS, loader, cache, hand)

    return make
