"""From a registered version to an open bundle: download, verify, try in a child process, keep, open."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from features.contracts.errors import MarqueeError, UnavailableError
from serving.bundle_cache import BundleCache
from serving.seams import Model, VersionSource
from training.bundle.registry import RegisteredVersion

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

CHECK_TIMEOUT_S: Final = 120.0
"""A bundle of 1.5 GB is hashed and opened in some 10 s; a child that takes longer hangs."""


class RefusedError(MarqueeError):
    """A version must not be served; the message says why."""


class BundleLoader:
    """Opens bundles of registered versions, trusting nothing that was not verified.

    Parameters
    ----------
    source
        Gives the files of a version.
    cache
        Keeps verified bundles.
    verify
        Compares files with a digest before anything is parsed; raises `MarqueeError` if they differ.
    check
        Opens a bundle elsewhere and runs its golden requests; raises `MarqueeError` if that fails.
    open_bundle
        Opens a bundle in this process.
    """

    def __init__(
        self,
        source: VersionSource,
        cache: BundleCache,
        *,
        verify: Callable[[Path, str], object],
        check: Callable[[Path, str], None],
        open_bundle: Callable[[Path, str], Model],
    ) -> None:
        self._source = source
        self._cache = cache
        self._verify = verify
        self._check = check
        self._open = open_bundle

    def load(self, version: RegisteredVersion) -> Model:
        """Return the open bundle of a version.

        Raises
        ------
        RefusedError
            If the version cannot be trusted or does not work.
        UnavailableError
            If the registry or the disk is in the way; trying again may succeed.
        """
        digest = _digest_of(version)
        try:
            return self._open_kept(digest) or self._fetch(version, digest)
        except UnavailableError:
            raise
        except MarqueeError as error:
            raise RefusedError(f"version {version.version}: {error}") from error
        except OSError as error:
            raise UnavailableError(
                f"version {version.version}: cannot be kept in {self._cache.folder}: {error}"
            ) from error

    def reopen(self, digest: str) -> Model | None:
        """Return a bundle that was kept earlier, None where it is not there any more or no longer whole."""
        return self._open_kept(digest)

    def _open_kept(self, digest: str) -> Model | None:
        if not self._cache.holds(digest):
            return None
        try:
            return self._open(self._cache.path(digest), digest)
        except MarqueeError:
            # The disk changed under us: what is kept is worth nothing, a fresh copy may be.
            self._cache.discard(digest)
            return None

    def _fetch(self, version: RegisteredVersion, digest: str) -> Model:
        with self._cache.incoming() as folder:
            files = self._source.download(version.version, folder)
            self._verify(files, digest)
            self._check(files, digest)
            return self._open(self._cache.install(files, digest), digest)


def check_in_child(path: Path, digest: str) -> None:
    """Open a bundle and run its golden requests in a child process, which may crash without harm.

    Raises
    ------
    RefusedError
        With the child's last words.
    """
    command = [sys.executable, "-m", "training.bundle", "check", str(path), digest]
    try:
        child = subprocess.run(  # noqa: S603  # our own module, by this interpreter
            command, capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise RefusedError(f"the check took longer than {CHECK_TIMEOUT_S} s") from None
    if child.returncode != 0:
        words = child.stderr.strip().splitlines()
        raise RefusedError(f"the check failed with exit code {child.returncode}: {words[-1] if words else 'no word'}")


def _digest_of(version: RegisteredVersion) -> str:
    if version.digest is None:
        raise RefusedError(
            f"version {version.version}: has no tag `digest`, so its files cannot be verified; "
            "only `python -m training step register` sets it. Promote another version."
        )
    if not _DIGEST.fullmatch(version.digest):
        raise RefusedError(f"version {version.version}: tag `digest` is {version.digest[:80]!r}, not a SHA-256 in hex")
    return version.digest
