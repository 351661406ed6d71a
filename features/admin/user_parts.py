"""Taking a user out of the snapshots of training runs: one part of each is written anew, and its ledger says so."""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from features.admin.part_rewriting import rewrite
from features.contracts.columns import USER
from features.contracts.parts import part_name, part_of, parts_in

if TYPE_CHECKING:
    import pyarrow as pa


def users_part(folder: Path, user_id: str) -> Path | None:
    """Return the file among a snapshot's parts that may hold a user, None where there is no such file."""
    parts = parts_in(path.name for path in folder.iterdir())
    if parts is None:
        return None
    file = folder / part_name(part_of(user_id, parts), parts)
    return file if file.is_file() else None


def take_out(part: Path, user_id: str, at: datetime) -> int:
    """Return how many rows of a user were taken out of a part; 0 leaves it as it is.

    Raises
    ------
    OSError, pyarrow.ArrowInvalid
        If the part cannot be read, or nothing can be written beside it.
    """
    return rewrite(part, partial(_of_others, user_id=user_id), at, "erasure")


def _of_others(rows: "pa.Table", user_id: str) -> "pa.Table":
    import pyarrow.compute as pc  # noqa: PLC0415  # part of the batch image only

    return rows.filter(pc.not_equal(rows[USER], user_id))
