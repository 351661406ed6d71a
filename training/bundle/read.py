"""Opening a bundle: digest first, then every file's checksum, then the contract, and only then its content."""

from pathlib import Path
from typing import Any, Final

import faiss
import lightgbm as lgb
import msgspec
import numpy as np
import numpy.typing as npt

from features.contracts.errors import ContractError
from features.contracts.facts import ItemFacts
from features.contracts.ids import IdMap
from features.contracts.statistics import StatisticsState
from features.contracts.weights import ActionWeights
from features.items import Categories
from features.text.search import ARRAYS, TextIndex
from training.bundle.bundle import Bundle
from training.bundle.content import Content
from training.bundle.foldin import FoldIn, all_but
from training.bundle.golden import GoldenRequest, check_answers
from training.bundle.manifest import (
    FORMAT_VERSION,
    FRESH_RANKER_FILE,
    MANIFEST,
    RANKER_FILE,
    REFERENCE_FILE,
    BundleError,
    Manifest,
    file_digest,
    manifest_digest,
    model_files,
)
from training.bundle.offered import SPEC
from training.bundle.parts import TABLES, Parts
from training.bundle.ranker import Ranker
from training.bundle.reference import Reference
from training.bundle.sources import SOURCES
from training.bundle.tables import NeighbourTable

_MANIFEST_LIMIT: Final = 1 << 20


def verify_bundle(path: Path, expected_digest: str) -> Manifest:
    """Return the manifest of a bundle whose files are, byte for byte, the ones that it was written with.

    Nothing but the manifest is parsed, and that only after its digest was compared.

    Raises
    ------
    BundleError
        Naming the file that is missing, too much or altered.
    """
    manifest = _manifest(path, expected_digest)
    present = {file.name for file in path.iterdir()} - {MANIFEST}
    if present != set(manifest.files):
        missing, extra = sorted(set(manifest.files) - present), sorted(present - set(manifest.files))
        raise BundleError(f"bundle {path}: files missing {missing}, not in the manifest {extra}; download it again")
    for name, stored in manifest.files.items():
        found = file_digest(path / name)
        if found != stored:
            raise BundleError(
                f"bundle {path}: {name} has {found.size} bytes and SHA-256 {found.sha256}, the manifest says "
                f"{stored.size} and {stored.sha256}; the file was altered or cut: download it again"
            )
    return manifest


def open_bundle(path: Path, expected_digest: str) -> Bundle:
    """Return a bundle, verified and mapped into memory.

    Raises
    ------
    BundleError
        If it is not the bundle of that digest, of another format or feature spec than this code computes, or without
        items.
    """
    manifest = verify_bundle(path, expected_digest)
    spec_hash = SPEC.digest
    if manifest.spec_hash != spec_hash:
        raise BundleError(
            f"bundle {path} was trained with feature spec {manifest.spec_hash[:12]}, this code computes "
            f"{spec_hash[:12]}; train a new version with this code, or serve with the code that trained it"
        )
    if manifest.source_names != SOURCES:
        raise BundleError(f"bundle {path} has sources {manifest.source_names}, this code has {SOURCES}; train anew")
    if not manifest.n_items:
        raise BundleError(f"bundle {path} has no items, so every list would be empty; train on data that has some")
    return Bundle(path, expected_digest, manifest, _parts(path, manifest))


def check_golden(bundle: Bundle) -> None:
    """Repeat the golden requests of an opened bundle.

    Raises
    ------
    BundleError
        If one is answered otherwise than when the bundle was written, or there are none.
    """
    requests = msgspec.json.decode((bundle.path / "golden.json").read_bytes(), type=list[GoldenRequest])
    if not requests:
        raise BundleError(f"bundle {bundle.path} has no golden requests, so nothing shows that it works; train anew")
    check_answers(bundle.recommender, bundle.statistics, requests)


def digest_of(path: Path) -> str:
    """Return the digest of the bundle in a folder, as its own manifest gives it; proves nothing about the files."""
    return manifest_digest((path / MANIFEST).read_bytes())


def _manifest(path: Path, expected_digest: str) -> Manifest:
    file = path / MANIFEST
    if not file.is_file() or file.stat().st_size > _MANIFEST_LIMIT:
        raise BundleError(f"bundle {path}: no {MANIFEST} of at most {_MANIFEST_LIMIT} bytes; it is no bundle")
    raw = file.read_bytes()
    digest = manifest_digest(raw)
    if digest != expected_digest:
        raise BundleError(
            f"bundle {path}: its manifest has digest {digest}, expected {expected_digest} (as registered); "
            "it is not the version that was published: refuse it"
        )
    try:
        version = msgspec.json.decode(raw)["format_version"]
        if version != FORMAT_VERSION:
            raise BundleError(f"bundle {path} has format {version!r}, this code reads format {FORMAT_VERSION}")
        return msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise BundleError(f"bundle {path}: {MANIFEST} is malformed: {error}") from error


def _parts(path: Path, manifest: Manifest) -> Parts:
    def load(name: str) -> npt.NDArray[Any]:
        # As a plain array over the same mapping: a memmap pays for being a subclass at every slice.
        array: npt.NDArray[Any] = np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
        return array

    def table(name: str) -> NeighbourTable:
        return NeighbourTable(load(f"{name}_offsets"), load(f"{name}_index"), load(f"{name}_value"))

    def content(encoder: str) -> Content:
        found = {name: load(f"content_{name}") for name in ARRAYS if f"content_{name}.npy" in manifest.files}
        index = TextIndex.from_arrays(found) if len(found) == len(ARRAYS) else None
        mapping, usual = load("content_mapping"), load("content_usual")
        return Content(encoder, found["vectors"], mapping, usual, manifest.text_until_us, index)

    names = msgspec.json.decode((path / "categories.json").read_bytes(), type=tuple[str, ...])
    state = StatisticsState(**{name: load(f"statistics_{name}") for name in StatisticsState.names()})
    try:
        fresh = load("fresh")
        held = all_but(manifest.n_items, fresh) if manifest.gram_lacks_fresh else None
        return Parts(
            items=IdMap.from_arrays(load("item_ids"), load("item_id_offsets")),
            fold_in=FoldIn(load("factors"), load("gram"), manifest.alpha, held),
            index=faiss.read_index(str(path / "index.faiss"), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY),
            index_info=manifest.index,
            tables={name: table(name) for name in TABLES},
            categories=Categories(names, load("categories_offsets"), load("categories_index")),
            facts=ItemFacts(load("price"), load("year")),
            state=state,
            closed_at_us=int(load("statistics_closed_at")[0]),
            ranker=_ranker(path, RANKER_FILE, manifest.ranker_shares),
            plan=manifest.plan,
            weights=ActionWeights.from_json(manifest.weights),
            trained_until_us=manifest.trained_until_us,
            bucket_us=manifest.bucket_us,
            has_clock=manifest.has_clock,
            n_users=manifest.n_users,
            n_interactions=manifest.n_interactions,
            fresh=fresh,
            content=None if manifest.encoder is None else content(manifest.encoder),
            fresh_ranker=_ranker(path, FRESH_RANKER_FILE, manifest.fresh_ranker_shares),
            reference=_reference(path, manifest),
        )
    except (OSError, ValueError, RuntimeError, ContractError, lgb.basic.LightGBMError, msgspec.MsgspecError) as error:
        raise BundleError(f"bundle {path}: a part cannot be read: {error}") from error


def _ranker(path: Path, name: str, shares: tuple[float, ...]) -> Ranker | None:
    files = model_files(path, name, len(shares))
    if not files:
        return None
    # As text: to read a file LightGBM takes a buffer of 16 MiB, which glibc keeps for each thread that ever did.
    ranker = Ranker(tuple(lgb.Booster(model_str=Path(file).read_text(encoding="utf-8")) for file in files), shares)
    ranker.trees  # noqa: B018 - read now, and refused now, rather than at the first request
    return ranker


def _reference(path: Path, manifest: Manifest) -> Reference | None:
    if REFERENCE_FILE not in manifest.files:
        return None
    return msgspec.json.decode((path / REFERENCE_FILE).read_bytes(), type=Reference)
