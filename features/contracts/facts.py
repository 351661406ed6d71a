"""What the catalogue says of items in numbers: price and year."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class ItemFacts:
    """Numbers of all items of a bundle, in its internal order; NaN where the catalogue does not say.

    Attributes
    ----------
    price
        float32 (n_items,), in the catalogue's own currency, at least 0.
    year
        float32 (n_items,), the year in which the work appeared (a film's release, a book's first edition).
    """

    price: npt.NDArray[np.float32]
    year: npt.NDArray[np.float32]

    @classmethod
    def unknown(cls, n_items: int) -> "ItemFacts":
        """Return the facts of items of which the catalogue says nothing."""
        return cls(np.full(n_items, np.nan, dtype=np.float32), np.full(n_items, np.nan, dtype=np.float32))
