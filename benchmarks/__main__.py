"""``python -m benchmarks [NAME... | --full]``: measures, and writes the README's tables from what was measured."""

import os
import sys
from collections.abc import Callable
from functools import partial

# One core each, as one server worker has; read when numerical libraries load.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks import (  # after the variables
    bulk,
    cold,
    diversity,
    embedding,
    fault_matrix,
    front_door,
    landing,
    landing_curves,
    onboarding,
    quality,
    readme,
    recommend,
    rollbacks,
    scheduler_kills,
    serving,
    serving_memory,
    serving_million,
    text,
    training,
)

BENCHMARKS: dict[str, Callable[[], None]] = {
    "recommend": recommend.run,
    "text": text.run,
    "landing": landing.run,
    "front_door": front_door.run,
    "serving": serving.run,
    "fault_matrix": fault_matrix.run,
    "rollbacks": rollbacks.run,
    "bulk": bulk.run,
    "quality": quality.run,
    "cold": cold.run,
    "onboarding": onboarding.run,
    "embedding": embedding.run,
    "training": training.run,
    "serving_memory": serving_memory.run,
}
LONG: dict[str, Callable[[], None]] = {
    "landing_curves": landing_curves.run,
    "training_3m": training.run_long,
    "serving_memory_1m": serving_memory.run_large,
    "serving_million": serving_million.run,
    "diversity": diversity.run,
    "scheduler_kills": scheduler_kills.run,
}
"""What takes too long for every day: only by name, or with `--full`."""
PARTS: dict[str, Callable[[], None]] = {
    **{f"quality:{name}": partial(quality.run, (name,)) for name in quality.DATA},
    **{f"cold:{name}": partial(cold.run, (name,)) for name in cold.DATA},
}
"""Parts of others, to be measured again alone."""


def main(names: list[str]) -> int:
    """Run the benchmarks named, all by default, and return the exit code."""
    known = BENCHMARKS | LONG | PARTS
    wanted = list(BENCHMARKS | LONG if names == ["--full"] else names or BENCHMARKS)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"unknown benchmarks {unknown}; there are {list(known)}, and --full for all", file=sys.stderr)
        return 2
    for name in wanted:
        known[name]()
    readme.write_tables()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
