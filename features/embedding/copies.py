"""Copies of encoders on this machine's disk: each stays while anybody uses it, and goes when nobody needs it."""

import fcntl
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Collection
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import structlog

from features.folder_locks import locked
from features.text.encoder import Encoder, EncoderError
from features.text.files import read_encoder, verified

log = structlog.get_logger()

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def opened(copy: Path, digest: str) -> Encoder | None:
    """Return the encoder of a copy, every byte verified, None where that is not there or damaged.

    While the encoder lives nobody prunes its copy: some of its files are read later.

    Raises
    ------
    EncoderError
        If it cannot be run here.
    """
    lock = _locked(copy, fcntl.LOCK_SH)
    if lock is None:
        return None
    with ExitStack() as unless_opened:
        unless_opened.callback(os.close, lock)
        try:
            verified(copy, digest)
        except EncoderError:
            return None
        encoder = read_encoder(copy, digest)
        weakref.finalize(encoder, unless_opened.pop_all().close)
        return encoder


def prune(folder: Path, keep: Collection[str]) -> list[str]:
    """Remove all copies but those of some digests and those in use by any process, and return the digests removed."""
    old = [entry for entry in folder.iterdir() if _DIGEST.fullmatch(entry.name) and entry.name not in keep]
    removed = [copy.name for copy in old if _pruned(copy)]
    if removed:
        log.info("copies of encoders that nobody needs were removed", encoders=[digest[:12] for digest in removed])
    return removed


def remove(copy: Path) -> None:
    """Remove a copy in one step: under its name there is a whole one or none."""
    aside = Path(tempfile.mkdtemp(dir=copy.parent, prefix=".removed-"))
    with suppress(FileNotFoundError):
        copy.replace(aside / copy.name)
    shutil.rmtree(aside, ignore_errors=True)


def _pruned(copy: Path) -> bool:
    lock = _locked(copy, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if lock is None:
        return False
    try:
        remove(copy)
    except OSError as error:
        log.warning("a copy of an encoder cannot be removed", copy=str(copy), reason=str(error))
        return False
    finally:
        os.close(lock)
    return True


def _locked(copy: Path, how: int) -> int | None:
    """Return a lock of a copy, None also where it is nothing that can be opened: such a copy is fetched anew."""
    try:
        return locked(copy, how)
    except OSError:
        return None
