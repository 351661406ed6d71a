"""Step `snapshot`: the data of the run, as files; a run with too few events ends here as skipped."""

from datetime import UTC, datetime
from typing import Any

from features.build.snapshot import write_snapshot
from features.contracts.hashes import sha256_of
from features.contracts.parts import digest_of
from features.contracts.times import to_us
from features.db.connection import connect
from features.embedding.encoders import embedded_before, load_encoder
from features.embedding.ensure import ensure_encoder
from features.embedding.export import export_vectors
from training.steps.folders import fresh_folder
from training.steps.inputs import DIGEST, ENCODER, ENCODERS, FILES, ROWS, SNAPSHOT, VECTORS
from training.steps.runner import StepContext, StepResult
from training.steps.state import DONE, SKIPPED


def run(context: StepContext) -> StepResult:
    """Write interactions and items of the run's window from Postgres."""
    folder = fresh_folder(context.run.path / SNAPSHOT)
    since, until = context.options.known_range(datetime.now(UTC))
    info = write_snapshot(context.settings, folder, _us(until), _us(since))
    first, last = _iso(info.first_occurred_us), _iso(info.last_occurred_us)
    results = {
        "interactions": info.interactions,
        "items": info.items,
        "first_at": first,
        "last_at": last,
        "events": info.events,
        "weights": info.weights.to_json(),
        "known_until": _iso(info.until_us),
        ROWS: info.rows,
        **_digests(info.sha256),
        ENCODER: None,
    }
    if info.interactions < context.options.min_events:
        needed = f"{info.interactions} interactions, {context.options.min_events} needed (option min_events)"
        return StepResult(f"too few events to train: {needed}", results, SKIPPED)
    results[ENCODER] = _write_texts(context)
    if results[ENCODER] is not None:
        results |= _digests({**info.sha256, VECTORS.name: sha256_of(context.run.path / VECTORS)})
    return StepResult(f"{info.interactions} interactions from {first} to {last}, {info.items} items", results, DONE)


def _digests(files: dict[str, str]) -> dict[str, Any]:
    """Return the SHA-256 of each file of the snapshot, and one over all of them."""
    return {FILES: files, DIGEST: digest_of(files)}


def _write_texts(context: StepContext) -> str | None:
    """Return the digest of the encoder that reads the catalogue, left beside the snapshot with all its vectors."""
    settings = context.settings
    digest = ensure_encoder(settings)
    if digest is None:
        return None
    load_encoder(settings, digest, context.run.path / ENCODERS)
    with connect(settings, name="snapshot", autocommit=True, statement_timeout_s=1_800) as connection:
        export_vectors(connection, digest, embedded_before(connection), context.run.path / VECTORS)
    return digest


def _us(at: datetime | None) -> int | None:
    return None if at is None else to_us(at)


def _iso(at_us: int | None) -> str | None:
    return None if at_us is None else datetime.fromtimestamp(at_us / 1e6, tz=UTC).isoformat(timespec="seconds")
