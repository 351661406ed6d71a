"""Snapshots of kept training runs under the retention: rows that are too old go from them as from Postgres."""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from features.admin.part_rewriting import rewrite, why_unread
from features.admin.walking import files_below, part_folders, trouble
from features.contracts.columns import OCCURRED_AT
from features.contracts.errors import ContractError
from features.contracts.parts import FOLDER, whole

if TYPE_CHECKING:
    import pyarrow as pa


def forget_older(work_dir: Path, before: datetime, at: datetime, *, dry_run: bool = False) -> tuple[int, str]:
    """Return how many rows of kept snapshots occurred too long ago and went, and why some could not be looked at.

    Parameters
    ----------
    work_dir
        Holds the folders of training runs; other snapshots are nobody's to change.
    before, at
        What occurred before the first goes, which the ledgers note as done at the second; aware UTC.
    dry_run
        Only count.
    """
    if why := why_unread("retain"):
        return 0, f"{work_dir}: {why}"
    parts, notes = _parts(work_dir)
    gone = sum(_without_older(part, before, None if dry_run else at, notes) for part in parts)
    return gone, "; ".join(notes)


def _without_older(part: Path, before: datetime, at: datetime | None, notes: list[str]) -> int:
    """Return how many rows of a part went, or without a time would go; a part that cannot be changed is noted."""
    import pyarrow as pa  # noqa: PLC0415  # part of the batch image only

    try:
        rows = _older(part, before)
        if rows and at is not None:
            rewrite(part, partial(_since, before=before), at, "retention")
    except FileNotFoundError:  # the run was removed since it was listed
        return 0
    except (OSError, pa.ArrowException) as error:
        notes.append(trouble(part, "kept as it is", error))
        return 0
    return rows


def _parts(work_dir: Path) -> tuple[list[Path], list[str]]:
    """Return all parts of interactions of whole snapshots, and what others lack: one may be in the making."""
    parts, notes = list[Path](), list[str]()
    for folder in part_folders(files_below([work_dir], notes)):
        if folder.name != FOLDER:
            continue
        try:
            parts += whole(folder)
        except ContractError as error:
            notes.append(str(error))
        except FileNotFoundError:
            continue  # the run was removed since it was listed
        except OSError as error:
            notes.append(trouble(folder, "not looked into", error))
    return parts, notes


def _older(part: Path, before: datetime) -> int:
    """Return how many rows of a part occurred before a time; a row group whose statistics tell is not read."""
    import pyarrow.compute as pc  # noqa: PLC0415  # part of the batch image only
    import pyarrow.parquet as pq  # noqa: PLC0415

    found = 0
    with pq.ParquetFile(part) as file:
        place = file.schema_arrow.names.index(OCCURRED_AT)
        for number in range(file.num_row_groups):
            told = file.metadata.row_group(number).column(place).statistics
            if told is None or not told.has_min_max or told.min < before:
                times = file.read_row_group(number, columns=[OCCURRED_AT])[OCCURRED_AT]
                found += pc.sum(pc.less(times, before)).as_py() or 0
    return found


def _since(rows: "pa.Table", before: datetime) -> "pa.Table":
    import pyarrow.compute as pc  # noqa: PLC0415

    return rows.filter(pc.greater_equal(rows[OCCURRED_AT], before))
