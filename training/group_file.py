"""Groups on disk: a ranker's training set, written as it is made and read in batches, so that memory stays flat."""

import os
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from typing import overload

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from training.groups import Group

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

BATCH_ROWS = 8192
"""Rows read at a time: 3 MB at 90 columns."""


class GroupFile(Sequence[Group]):
    """Groups in the order in which they were added, in a file without a name that vanishes with this object.

    A row of the file is a candidate's feature row, its ranks and its position (NaN = not shown); gains and
    items stay in memory.
    Reading a group gives new arrays each time. All groups have the same number of columns and sources.
    """

    def __init__(self, groups: Iterable[Group] = ()) -> None:
        """Add groups to a new file in the system's folder for temporary ones."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this object:
        weakref.finalize(self, self._file.close)
        self._starts = [0]
        self._relevant: list[int] = []
        self._shown: list[bool] = []
        self._user: list[int] = []
        self._gain: list[Floats] = []
        self._items: list[Ints | None] = []
        self._n_features = self._n_sources = 0
        self.extend(groups)

    def append(self, group: Group) -> None:
        """Add a group."""
        self._n_features, self._n_sources = group.rows.shape[1], group.ranks.shape[1]
        shown = group.position is not None
        position = group.position if group.position is not None else np.full(len(group.gain), np.nan, np.float32)
        columns = (group.rows, group.ranks, position[:, None])
        self._file.write(np.concatenate(columns, axis=1, dtype=np.float32).tobytes())
        self._starts.append(self._starts[-1] + len(group.gain))
        self._relevant.append(group.relevant)
        self._shown.append(shown)
        self._user.append(group.user)
        self._gain.append(group.gain)
        self._items.append(group.items)

    def extend(self, groups: Iterable[Group]) -> None:
        """Add groups one by one."""
        for group in groups:
            self.append(group)

    @property
    def n_rows(self) -> int:
        """Return the number of candidates of all groups."""
        return self._starts[-1]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Return the number of candidates of each group, int64 (n_groups,)."""
        starts = np.asarray(self._starts, dtype=np.int64)
        return starts[1:] - starts[:-1]

    @property
    def gain(self) -> Floats:
        """Return the gain of every candidate, float32 (n_rows,)."""
        return np.concatenate([np.empty(0, np.float32), *self._gain])

    @property
    def user(self) -> list[int]:
        """Return the user of each group, as `Group.user` has them."""
        return self._user

    @property
    def items(self) -> list[Ints | None]:
        """Return the items of each group, as `Group.items` has them."""
        return self._items

    def read(self, start: int, stop: int) -> Floats:
        """Return the feature rows of candidates start:stop, counted through all groups."""
        return np.ascontiguousarray(self._read(start, stop)[:, : self._n_features])

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self._relevant)

    @overload
    def __getitem__(self, index: int) -> Group: ...
    @overload
    def __getitem__(self, index: slice) -> list[Group]: ...
    def __getitem__(self, index: int | slice) -> Group | list[Group]:
        """Return a group, or several, read from the file."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        block = self._read(self._starts[number], self._starts[number + 1])
        n = self._n_features
        return Group(
            rows=np.ascontiguousarray(block[:, :n]),
            ranks=np.ascontiguousarray(block[:, n : n + self._n_sources]),
            gain=self._gain[number],
            relevant=self._relevant[number],
            position=block[:, -1].copy() if self._shown[number] else None,
            user=self._user[number],
            items=self._items[number],
        )

    def _read(self, start: int, stop: int) -> Floats:
        width = self._n_features + self._n_sources + 1
        self._file.flush()
        content = os.pread(self._file.fileno(), (stop - start) * width * 4, start * width * 4)
        return np.frombuffer(content, dtype=np.float32).reshape(-1, width)


class RowBatches(lgb.Sequence):
    """The feature rows of a group file as LightGBM reads them: batch by batch, never all at once."""

    batch_size = BATCH_ROWS

    def __init__(self, groups: GroupFile) -> None:
        self._groups = groups

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._groups.n_rows

    def __getitem__(self, index: int | slice | list[int]) -> npt.NDArray[np.floating]:
        """Return a batch, float32, or one row, float64 as LightGBM wants it of the sample that makes its bins."""
        if isinstance(index, slice):
            return self._groups.read(index.start, index.stop)
        if isinstance(index, list):
            return np.concatenate([self._groups.read(row, row + 1) for row in index])
        return np.asarray(self._groups.read(int(index), int(index) + 1)[0], dtype=np.float64)
