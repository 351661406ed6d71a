"""Files that hold something in each line, ids above all: these may hold what ends a line elsewhere."""

import sys
from pathlib import Path
from typing import Final

from features.contracts.errors import ContractError

STDIN: Final = "-"


def lines_of(file: Path | str) -> list[str]:
    """Return the lines of a file in UTF-8, or of standard input for `-`; only a line feed ends one.

    Raises
    ------
    ContractError
        If it cannot be read, or is no UTF-8.
    """
    try:
        raw = sys.stdin.buffer.read() if str(file) == STDIN else Path(file).read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise ContractError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ContractError(
            f"{file}: byte {error.start} is no UTF-8; `iconv -f LATIN1 -t UTF-8` makes it of a file in Latin-1"
        ) from error
    return [line.removesuffix("\r") for line in text.split("\n")]
