"""`make logs`: follow what the processes write."""

import os
import shutil

from ops.local.errors import StackError
from ops.local.layout import Layout

LINES_AT_FIRST = "20"


def logs(layout: Layout, name: str | None) -> None:
    """Become ``tail -F`` of one process's log, or of all.

    Raises
    ------
    StackError
        Where there is no such log.
    """
    files = sorted(layout.logs.glob("*.log" if name is None else f"{name}.log"))
    if not files:
        known = ", ".join(sorted(file.stem for file in layout.logs.glob("*.log")))
        raise StackError(
            f"no log of {name or 'any process'} in {layout.logs}; there are: {known or 'none, run `make up`'}"
        )
    tail = shutil.which("tail") or "tail"
    os.execv(tail, [tail, "-n", LINES_AT_FIRST, "-F", *map(str, files)])  # noqa: S606 - no shell is wanted
