"""``python -m training.bundle check PATH DIGEST``: open a bundle and repeat its golden requests in its own process.

A server runs this before it opens a new bundle itself: a file that crashes a parser crashes this process only.
"""

import sys
from pathlib import Path

from training.bundle.lean import leave_out_conveniences

if __name__ == "__main__":
    leave_out_conveniences()

from training.bundle.manifest import BundleError  # LightGBM looks for them when it is imported
from training.bundle.read import check_golden, open_bundle


def main(arguments: list[str]) -> int:
    """Return 0 where the bundle is sound, else 2 with one line on stderr that says why not."""
    match arguments:
        case ["check", path, digest]:
            try:
                check_golden(open_bundle(Path(path), digest))
            except BundleError as error:
                sys.stderr.write(f"{error}\n")
                return 2
            return 0
        case _:
            sys.stderr.write("usage: python -m training.bundle check PATH DIGEST\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
