"""Writing a bundle: every part to its file, the manifest last."""

import json
from datetime import datetime
from pathlib import Path

import faiss
import msgspec
import numpy as np
import numpy.typing as npt

from training.bundle.golden import make_golden
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
from training.bundle.parts import Parts
from training.bundle.sources import SOURCES


def write_bundle(folder: Path, parts: Parts, *, created_at: datetime, code_version: str, seed: int) -> str:
    """Write a bundle into an empty or new folder and return its digest.

    Raises
    ------
    BundleError
        If the folder holds anything already: a bundle is written once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise BundleError(f"bundle folder {folder} is not empty; bundles are never written over, choose a new folder")
    for name, array in arrays_of(parts).items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    faiss.write_index(parts.index, str(folder / "index.faiss"))
    for name, ranker in ((RANKER_FILE, parts.ranker), (FRESH_RANKER_FILE, parts.fresh_ranker)):
        models = () if ranker is None else ranker.models
        for model, file in zip(models, model_files(folder, name, len(models)), strict=True):
            model.save_model(file)
    golden = make_golden(parts.recommender(), parts.state.at(parts.closed_at_us, has_clock=parts.has_clock), seed)
    (folder / "golden.json").write_bytes(msgspec.json.format(msgspec.json.encode(golden), indent=1))
    (folder / "categories.json").write_text(json.dumps(list(parts.categories.names)), encoding="utf-8")
    if parts.reference is not None:
        (folder / REFERENCE_FILE).write_bytes(msgspec.json.encode(parts.reference))
    spec = SPEC
    (folder / "feature_spec.json").write_text(
        json.dumps([vars_of(feature) for feature in spec.features], indent=1), encoding="utf-8"
    )
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        created_at=created_at.isoformat(),
        trained_until_us=parts.trained_until_us,
        spec_hash=spec.digest,
        source_names=SOURCES,
        plan=parts.plan,
        ranker_shares=() if parts.ranker is None else parts.ranker.shares,
        fresh_ranker_shares=() if parts.fresh_ranker is None else parts.fresh_ranker.shares,
        weights=parts.weights.to_json(),
        index=parts.index_info,
        alpha=parts.fold_in.alpha,
        bucket_us=parts.bucket_us,
        has_clock=parts.has_clock,
        n_items=len(parts.items),
        n_fresh=len(parts.fresh),
        n_users=parts.n_users,
        n_interactions=parts.n_interactions,
        code_version=code_version,
        encoder=None if parts.content is None else parts.content.encoder,
        text_until_us=0 if parts.content is None else parts.content.until_us,
        files={path.name: file_digest(path) for path in sorted(folder.iterdir())},
        gram_lacks_fresh=parts.fold_in.held is not None,
    )
    raw = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (folder / MANIFEST).write_bytes(raw)
    return manifest_digest(raw)


def vars_of(feature: object) -> dict[str, str]:
    """Return a feature's fields as JSON values."""
    return {name: getattr(feature, name) for name in ("name", "meaning", "unit", "origin")}


def arrays_of(parts: Parts) -> dict[str, npt.NDArray[np.generic]]:
    """Return all arrays of a bundle by file name (without ``.npy``)."""
    utf8, offsets = parts.items.to_arrays()
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "item_ids": utf8,
        "item_id_offsets": offsets,
        "factors": parts.fold_in.factors,
        "gram": parts.fold_in.gram,
        "fresh": parts.fresh,
        "categories_offsets": parts.categories.offsets,
        "categories_index": parts.categories.index,
        "price": parts.facts.price,
        "year": parts.facts.year,
        "statistics_closed_at": np.array([parts.closed_at_us], dtype=np.int64),
        **{f"statistics_{name}": array for name, array in parts.state.arrays().items()},
    }
    if parts.content is not None:
        content = parts.content
        arrays |= {"content_vectors": content.vectors}
        arrays |= {"content_mapping": content.mapping, "content_usual": content.usual}
        index = {} if content.index is None else content.index.arrays()
        arrays |= {f"content_{name}": array for name, array in index.items()}
    for name, table in parts.tables.items():
        arrays |= {f"{name}_offsets": table.offsets, f"{name}_index": table.index, f"{name}_value": table.value}
    return arrays
