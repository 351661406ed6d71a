"""The manifest of a bundle: what it is, how it serves, and every other file's size and SHA-256."""

import hashlib
from pathlib import Path
from typing import Final

import msgspec

from features.contracts.errors import ContractError
from features.contracts.hashes import sha256_of
from training.bundle.plan import Plan

FORMAT_VERSION: Final = 4
"""Raised when a bundle's files change their meaning; `open_bundle` reads this version."""

MANIFEST: Final = "manifest.json"
RANKER_FILE: Final = "ranker"
FRESH_RANKER_FILE: Final = "fresh_ranker"
"""Names of rankers, as `model_files` reads them."""
REFERENCE_FILE: Final = "reference.json"
"""How training rows were spread; bundles of before it was written do without."""


class BundleError(ContractError):
    """A bundle is not what its manifest, its digest or this code's contract says."""


class StoredFile(msgspec.Struct, frozen=True):
    """Size in bytes and SHA-256 of one file of a bundle."""

    size: int
    sha256: str


class IndexInfo(msgspec.Struct, frozen=True):
    """Kind of the FAISS index and its measured recall against exact search."""

    kind: str
    recall: float


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of ``manifest.json``; its SHA-256 is the bundle's digest.

    Attributes
    ----------
    gram_lacks_fresh
        Whether fold-in knows that the shared part of its equations lacks the factors of items without a history. Not in
        bundles that were made before this was looked at: they answer as they did.
    """

    format_version: int
    created_at: str
    trained_until_us: int
    spec_hash: str
    source_names: tuple[str, ...]
    plan: Plan
    ranker_shares: tuple[float, ...]
    fresh_ranker_shares: tuple[float, ...]
    weights: dict[str, object]
    index: IndexInfo
    alpha: float
    bucket_us: int
    has_clock: bool
    n_items: int
    n_fresh: int
    n_users: int
    n_interactions: int
    code_version: str
    encoder: str | None
    text_until_us: int
    files: dict[str, StoredFile]
    gram_lacks_fresh: bool = False

    @property
    def history_limit(self) -> int:
        """Return how many of a user's latest events this bundle reads."""
        return self.plan.history_limit


def model_files(folder: Path, ranker: str, count: int) -> list[Path]:
    """Return the files of a ranker's models in a bundle's folder."""
    return [folder / f"{ranker}_{number}.txt" for number in range(count)]


def file_digest(path: Path) -> StoredFile:
    """Return size and SHA-256 of a file."""
    return StoredFile(path.stat().st_size, sha256_of(path))


def manifest_digest(raw: bytes) -> str:
    """Return the digest of a bundle from the bytes of its manifest."""
    return hashlib.sha256(raw).hexdigest()
