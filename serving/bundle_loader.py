"""From a registered version to an open bundle: download, verify, try in a child process, keep, open."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from features.contracts.errors import MarqueeError, UnavailableError
from serving.bundle_cache import BundleCache, Refused
from serving.clock import Clock
from serving.seams import Model, VersionSource
from training.bundle.versions import RegisteredVersion

log = structlog.get_logger(__name__)

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

REFUSED_FOR_US: Final = 60_000_000
"""How long other processes of the machine believe a refusal: all of them look several times within this."""
CHECK_TIMEOUT_S: Final = 120.0
"""A bundle of 1.5 GB is hashed and opened in some 10 s; a child that takes longer hangs."""


class RefusedError(MarqueeError):
    """A version must not be served; the message says why."""


class DiskError(UnavailableError):
    """The registry answered, but what it has cannot be kept: a disk is full, or may not be written."""


class BundleLoader:
    """Opens bundles of registered versions, trusting nothing that was not verified.

    Of several processes over one cache the first downloads and checks, the others wait for what comes of it.

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
    clock
        The present moment.
    """

    def __init__(
        self,
        source: VersionSource,
        cache: BundleCache,
        *,
        verify: Callable[[Path, str], object],
        check: Callable[[Path, str], None],
        open_bundle: Callable[[Path, str], Model],
        clock: Clock,
    ) -> None:
        self._source = source
        self._cache = cache
        self._verify = verify
        self._check = check
        self._open = open_bundle
        self._clock = clock

    def load(self, version: RegisteredVersion, *, insist: bool = False) -> Model:
        """Return the open bundle of a version.

        Parameters
        ----------
        insist
            Try it although another process refused it a moment ago.

        Raises
        ------
        RefusedError
            If the version cannot be trusted or does not work.
        UnavailableError
            If the registry is in the way or, as a `DiskError`, the disk; trying again may succeed.
        """
        digest = _digest_of(version)
        with self._told_of(version):
            return self._open_kept(digest) or self._fetch(version, digest, insist=insist)

    def fetch(self, version: RegisteredVersion) -> None:
        """Have the bundle of a version on disk, verified and tried, for whoever opens it later; raises as `load`."""
        digest = _digest_of(version)
        with self._told_of(version), self._cache.incoming() as folder:
            self._bring(version, digest, folder, insist=False)

    def reopen(self, digest: str) -> Model | None:
        """Return a bundle that was kept earlier, None where it is not there, whole and readable any more."""
        try:
            return self._open_kept(digest)
        except OSError as error:
            log.warning("kept_bundle_unreadable", digest=digest, error=str(error))
            return None

    def _open_kept(self, digest: str) -> Model | None:
        try:
            return self._cache.open_kept(digest, self._open)
        except MarqueeError:
            # The disk changed under us: what is kept is worth nothing, a fresh copy may be.
            self._cache.discard(digest)
            return None

    def _fetch(self, version: RegisteredVersion, digest: str, *, insist: bool) -> Model:
        with self._cache.incoming() as folder:
            self._bring(version, digest, folder, insist=insist)
            model = self._cache.open_kept(digest, self._open)
        if model is None:
            raise UnavailableError(f"version {version.version}: {self._cache.path(digest)} was removed while opened")
        return model

    def _bring(self, version: RegisteredVersion, digest: str, folder: Path, *, insist: bool) -> None:
        if self._cache.holds(digest):  # another process was quicker
            return
        if not insist:
            self._believe_refusal(version, digest)
        files = self._source.download(version.version, folder)
        self._try_out(files, version, digest)
        self._cache.install(files, digest)

    @contextmanager
    def _told_of(self, version: RegisteredVersion) -> Iterator[None]:
        """Name the version in errors, and tell what is wrong with it from what is in the way."""
        try:
            yield
        except UnavailableError:
            raise
        except MarqueeError as error:
            raise RefusedError(f"version {version.version}: {error}") from error
        except OSError as error:
            raise DiskError(f"version {version.version}: cannot be kept in {self._cache.folder}: {error}") from error

    def _try_out(self, files: Path, version: RegisteredVersion, digest: str) -> None:
        try:
            self._verify(files, digest)
            self._check(files, digest)
        except UnavailableError:
            raise
        except MarqueeError as error:
            self._cache.refuse(Refused(version.version, digest, str(error), self._clock()))
            raise

    def _believe_refusal(self, version: RegisteredVersion, digest: str) -> None:
        noted, now_us = self._cache.refused(), self._clock()
        if noted is None or (noted.version, noted.digest) != (version.version, digest):
            return
        # One of the future was noted before the clock was set back: nobody knows how old it is.
        if now_us - REFUSED_FOR_US < noted.at_us <= now_us:
            raise RefusedError(noted.reason)


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
