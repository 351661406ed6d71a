"""Starting a process that only serves: without the libraries that LightGBM imports for its own conveniences."""

import sys
from typing import Final

CONVENIENCES: Final = ("pandas", "sklearn", "matplotlib", "pyarrow")
"""Not installed where only the serving lock is; elsewhere they cost two seconds and 130 MB at each start (measured)."""


def leave_out_conveniences() -> None:
    """Let imports of data frame and plotting libraries fail from now on, as they do in the serving image.

    For processes of their own, before LightGBM is imported; what is imported already stays.
    """
    for name in CONVENIENCES:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None is how Python marks an import as missing
