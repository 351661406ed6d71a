"""What several commands are given: where they leave what they made, looked at before they begin, and seeds."""

from pathlib import Path
from typing import Final

from features.contracts.errors import ContractError

LARGEST_SEED: Final = 2**31 - 1
"""LightGBM keeps its seed in 32 bits; NumPy takes none below 0."""


def make_folder(folder: Path, option: str) -> None:
    """Make a folder, and those above it, if it is not there.

    Raises
    ------
    ContractError
        If it is a file, lies below one, or may not be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ContractError(
            f"{option} {folder}: {error.strerror}; name a folder that is there or can be made"
        ) from None


def make_room(file: Path | None, option: str) -> None:
    """Make the folder of a file that is to be written, if one is.

    Raises
    ------
    ContractError
        If it cannot be made, or the file is a folder.
    """
    if file is None:
        return
    make_folder(file.parent, option)
    if file.is_dir():
        raise ContractError(f"{option} {file}: is a folder; name a file")
