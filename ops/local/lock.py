"""One command at a time may change a stack."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from ops.local.errors import StackError
from ops.local.layout import Layout


@contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """Hold the stack's lock; the kernel frees it when this process ends, however it ends.

    Raises
    ------
    StackError
        Where another command holds it.
    """
    layout.run_dir.mkdir(parents=True, exist_ok=True)
    with (layout.run_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StackError(
                f"another command is starting or stopping the stack in {layout.run_dir}: wait for it"
            ) from error
        yield
