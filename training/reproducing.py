"""Training a version once more from what its run recorded, and comparing what comes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import structlog

from features.settings import Settings
from training.bundle.manifest import Manifest
from training.bundle.read import verify_bundle
from training.bundle.versions import TAG_RUN, RegisteredVersion, RegistryError
from training.code_version import code_version
from training.steps.frozen import Frozen, hand_over, verify_snapshot
from training.steps.inputs import BUNDLE
from training.steps.options import read_options
from training.steps.runner import run_step
from training.steps.state import RunFolder

log = structlog.get_logger(__name__)

STEPS: Final = ("retrieval", "ranker", "evaluate")
"""What is done again: registering and promoting is not."""
TOLERANCE: Final = 0.002
"""Difference of a metric that is let pass where files are not the same to the bit."""
_NEAR: Final = 1e-4
_NEAR_OF_LARGEST: Final = 1e-6
"""Arrays are near whose numbers differ by such a share of themselves, or of the largest: as sums of float32 in another
order do."""

Verdict = Literal["the same", "within tolerance", "different"]


@dataclass(frozen=True, slots=True)
class FileCompared:
    """A file of both bundles that is not the same; `near` is None where it is no array of one shape."""

    name: str
    difference: str
    near: bool | None


@dataclass(frozen=True, slots=True)
class MetricCompared:
    """A metric as recorded and as it came out now; it may differ by the tolerance."""

    name: str
    recorded: float
    now: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Return whether the two are near enough."""
        return abs(self.now - self.recorded) <= self.tolerance


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What came out of training a version once more.

    Attributes
    ----------
    version, run
        Which version, and the name of the run that trained it again.
    recorded_code, code
        Of then and of now.
    erased_rows
        Interactions that were taken out of the snapshot since, for whatever reason; the notes say which.
    same
        How many files of the bundle are the same, byte for byte.
    files
        Those that are not.
    metrics
        On the judging window.
    notes
        What keeps the two from being the same for certain.
    """

    version: str
    run: str
    recorded_code: str
    code: str
    erased_rows: int
    same: int
    files: list[FileCompared]
    metrics: list[MetricCompared]
    notes: list[str]

    @property
    def verdict(self) -> Verdict:
        """Return whether it is the same model.

        Without erasures arrays have to be near as well; with them they cannot be, and metrics decide. Files that are
        the same and metrics that are not mean that it is judged otherwise than then.
        """
        if not all(found.holds for found in self.metrics):
            return "different"
        if not self.files:
            return "the same"
        arrays_hold = self.erased_rows > 0 or all(found.near is not False for found in self.files)
        return "within tolerance" if arrays_hold else "different"

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "version": self.version,
            "verdict": self.verdict,
            "run": self.run,
            "recorded_code": self.recorded_code,
            "code": self.code,
            "erased_rows": self.erased_rows,
            "files_same": self.same,
            "files_different": {found.name: found.difference for found in self.files},
            "metrics": {
                found.name: {"recorded": found.recorded, "now": found.now, "tolerance": found.tolerance}
                for found in self.metrics
            },
            "notes": self.notes,
        }


def reproduce(
    settings: Settings, version: RegisteredVersion, *, now: datetime, tolerance: float = TOLERANCE
) -> Reproduction:
    """Return what training a version once more led to, in a fresh run that is not registered.

    Raises
    ------
    RegistryError
        If the version does not say which run trained it.
    SnapshotGoneError
        If its snapshot is gone or altered, naming where it should be.
    BundleError
        If the run's own bundle is gone or altered.
    """
    if TAG_RUN not in version.tags:
        raise RegistryError(
            f"version {version.version} has no tag {TAG_RUN!r}: nothing tells which run trained it. Reproduce a "
            "version that `python -m training step register` published."
        )
    run = RunFolder(settings.work_dir, version.tags[TAG_RUN])
    frozen = verify_snapshot(run)
    recorded = verify_bundle(run.path / BUNDLE, str(version.digest))
    again = RunFolder(settings.work_dir, f"reproduce-{version.version}-{now:%Y%m%dT%H%M%S}")
    notes = _notes(run, recorded, frozen)
    for note in notes:
        log.warning("reproduce", note=note)
    hand_over(run, frozen, again)
    for step in STEPS:
        run_step(step, again.run, settings)
    made = verify_bundle(again.path / BUNDLE, str(again.finished("ranker").results["digest"]))
    different = compare_files(run.path / BUNDLE, recorded, again.path / BUNDLE, made)
    then, today = (folder.finished("evaluate").results["metrics"] for folder in (run, again))
    return Reproduction(
        version=version.version,
        run=again.run,
        recorded_code=recorded.code_version,
        code=made.code_version,
        erased_rows=frozen.erased_rows,
        same=len(recorded.files.keys() | made.files.keys()) - len(different),
        files=different,
        metrics=compare_metrics(then, today, tolerance, erased=frozen.erased_rows > 0),
        notes=notes,
    )


def compare_files(folder: Path, recorded: Manifest, other: Path, made: Manifest) -> list[FileCompared]:
    """Return the files of two bundles that are not the same, byte for byte; arrays are compared number by number.

    Manifests differ in any case: they hold the time of writing.
    """
    found = []
    for name in sorted(recorded.files.keys() | made.files.keys()):
        if recorded.files.get(name) != made.files.get(name):
            missing = name not in recorded.files or name not in made.files
            found.append(
                FileCompared(name, "in one of them only", near=False) if missing else _different(folder, other, name)
            )
    return found


def compare_metrics(
    recorded: Mapping[str, float], now: Mapping[str, float], tolerance: float, *, erased: bool
) -> list[MetricCompared]:
    """Return the metrics of the served line that have an interval.

    Where rows were erased, trees begin otherwise, which moves a metric as much as other users would: its interval may
    just touch the recorded one. A metric of all lists together, which has no width, says nothing then.
    """
    found = []
    for name, value in recorded.items():
        width = _half_width(recorded, name)
        if width is not None and (width or not erased):
            allowed = max(tolerance, width + (_half_width(now, name) or 0.0)) if erased else tolerance
            found.append(MetricCompared(name, value, now.get(name, float("nan")), allowed))
    return found


def _half_width(metrics: Mapping[str, float], name: str) -> float | None:
    """Return half the width of a metric's interval, None where it has none."""
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    return None if low is None or high is None else (high - low) / 2


def _different(folder: Path, other: Path, name: str) -> FileCompared:
    if not name.endswith(".npy"):
        return FileCompared(name, "other bytes", near=None)
    ours, theirs = (np.load(path / name, mmap_mode="r", allow_pickle=False) for path in (folder, other))
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return FileCompared(name, f"{ours.dtype}{ours.shape}, now {theirs.dtype}{theirs.shape}", near=False)
    gap = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
    if ours.dtype.kind != "f":  # ids, counts, times: these are equal or not
        return FileCompared(name, f"other numbers in {(gap > 0).mean():.1%} of the places", near=False)
    largest = float(np.nanmax(np.abs(ours), initial=0.0))
    near = bool(np.allclose(ours, theirs, rtol=_NEAR, atol=_NEAR_OF_LARGEST * largest, equal_nan=True))
    return FileCompared(name, f"{np.nanmax(gap):.3g} at most, in {(gap > 0).mean():.1%} of its numbers", near)


def _notes(run: RunFolder, recorded: Manifest, frozen: Frozen) -> list[str]:
    code, notes = code_version(), []
    if recorded.code_version != code:
        notes.append(f"trained by code {recorded.code_version}, this is {code}: check that revision out to compare")
    elif code.endswith("dirty"):
        notes.append(f"code {code} has changes that no revision names: it may not be the code of then")
    if erased := frozen.erased_rows - frozen.expired_rows:
        notes.append(f"{erased} interactions of erased users were taken out of the snapshot since")
    if frozen.expired_rows:
        notes.append(
            f"{frozen.expired_rows} interactions older than the retention were taken out of the snapshot since"
        )
    if read_options(run).tune_minutes is not None:
        notes.append("its search of settings was limited by time: more trials may be made now")
    return notes
