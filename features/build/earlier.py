"""What items had met before a snapshot begins, or by an edge in it: their stored statistics there, as files."""

from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts.statistics import HALF_LIVES_US, StatisticsRows, StatisticsState

EARLIER_FILE: Final = "earlier_statistics.parquet"
COUNTED_FILE: Final = "counted_statistics.parquet"
"""As of the edge up to which retention has deleted some events and left others: who counts goes on from there."""
_ITEM: Final = "item_id"
_DECAYED: Final = "decayed"
_CLOSED_AT: Final = b"closed_at_us"
_WEIGHTS: Final = b"weights"


def write_earlier(rows: StatisticsRows, file: Path) -> None:
    """Write the states of items at the edge that `rows` have reached."""
    columns = {_ITEM: pa.array(rows.item_ids, pa.string())}
    for name, array in rows.state.arrays().items():
        flat = pa.array(array.ravel())
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, array.shape[1]) if array.ndim > 1 else flat
    known = {_CLOSED_AT: str(rows.closed_at_us).encode(), _WEIGHTS: msgspec.json.encode(rows.weights)}
    pq.write_table(pa.table(columns).replace_schema_metadata(known), file, compression="zstd")


def read_earlier(file: Path) -> StatisticsRows | None:
    """Return the states of a snapshot's file; None where it has none, since nothing was known before it."""
    if not file.is_file():
        return None
    table = pq.read_table(file)
    arrays = {name: table[name].combine_chunks() for name in StatisticsState.names()}
    flat = arrays[_DECAYED].flatten().to_numpy(zero_copy_only=False)
    state = {name: array.to_numpy(zero_copy_only=False) for name, array in arrays.items() if name != _DECAYED}
    decayed = np.array(flat).reshape(table.num_rows, len(HALF_LIVES_US))
    known = table.schema.metadata
    return StatisticsRows(
        item_ids=table[_ITEM].to_pylist(),
        state=StatisticsState(decayed=decayed, **state),
        closed_at_us=int(known[_CLOSED_AT]),
        weights=msgspec.json.decode(known[_WEIGHTS]),
    )
