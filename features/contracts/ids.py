"""External ids (text, as the world writes them) and internal indices (int32, positions in a bundle's arrays)."""

import itertools
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.errors import ContractError
from features.contracts.ragged import offsets_of

MISSING: Final = -1
"""The internal index that stands for "not known here"."""


class UnknownIdError(ContractError):
    """An external id was asked for strictly, but the map does not hold it."""


class IdMap:
    """Immutable two-way map between external ids and the internal indices 0..n-1.

    The one place where the two id spaces cross. The caller chooses how: `index` is strict, `index_or_missing`
    is lenient.
    """

    def __init__(self, external_ids: Sequence[str]) -> None:
        self._external = list(external_ids)
        if len(self._position) != len(self._external):
            raise ContractError(
                f"IdMap: {len(self._external)} ids hold {len(self._external) - len(self._position)} repeated ones; "
                "each external id may stand once. De-duplicate before building the map."
            )

    @cached_property
    def _position(self) -> dict[str, int]:
        return {external: index for index, external in enumerate(self._external)}

    def __len__(self) -> int:
        """Return the number of ids."""
        return len(self._external)

    def __contains__(self, external_id: object) -> bool:
        """Return whether the external id is known."""
        return external_id in self._position

    def index(self, external_ids: Iterable[str]) -> npt.NDArray[np.int32]:
        """Return internal indices of external ids, in their order.

        Raises
        ------
        UnknownIdError
            Naming the first id that the map does not hold.
        """
        try:
            return np.fromiter((self._position[i] for i in external_ids), dtype=np.int32)
        except KeyError as error:
            raise UnknownIdError(f"id {error.args[0]!r} is not among the {len(self)} known ids") from None

    def index_or_missing(self, external_ids: Iterable[str]) -> npt.NDArray[np.int32]:
        """Return internal indices of external ids, in their order, `MISSING` for unknown ones."""
        return np.fromiter(map(self._position.get, external_ids, itertools.repeat(MISSING)), dtype=np.int32)

    def external(self, indices: npt.NDArray[np.integer]) -> list[str]:
        """Return the external ids of internal indices, in their order."""
        ids = self._external
        return [ids[i] for i in indices.tolist()]

    def to_arrays(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Return the ids as UTF-8 bytes, end to end, and their n + 1 offsets: a form without pickled objects."""
        encoded = [external.encode() for external in self._external]
        return np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets_of([len(part) for part in encoded])

    @classmethod
    def from_arrays(cls, utf8: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> "IdMap":
        """Return the map that `to_arrays` wrote."""
        raw, ends = utf8.tobytes(), offsets.tolist()
        return cls([raw[start:end].decode() for start, end in itertools.pairwise(ends)])
