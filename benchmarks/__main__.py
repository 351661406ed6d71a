"""``python -m benchmarks [NAME...]``: measures, and writes the README's tables from what was measured."""

import os
import sys
from collections.abc import Callable

# One core each, as one server worker has; read when numerical libraries load.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks import front_door, landing, quality, readme, recommend  # after the variables

BENCHMARKS: dict[str, Callable[[], None]] = {
    "recommend": recommend.run,
    "landing": landing.run,
    "front_door": front_door.run,
    "quality": quality.run,
}


def main(names: list[str]) -> int:
    """Run the benchmarks named, all by default, and return the exit code."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"unknown benchmarks {unknown}; there are {list(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names or BENCHMARKS:
        BENCHMARKS[name]()
    readme.write_tables()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
