"""Which version is served: follows the alias, step by step, and never gives up a good version for a bad one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import structlog

from features.contracts.errors import MarqueeError, UnavailableError
from serving.bundle_cache import BundleCache, LastGood
from serving.bundle_loader import BundleLoader, DiskError, RefusedError
from serving.clock import Clock
from serving.seams import Model, VersionSource
from training.bundle.versions import ALIAS_PREVIOUS, RegisteredVersion, RegistryError

log = structlog.get_logger(__name__)

_PAUSE_US: Final = 2_000_000
_LONGEST_PAUSE_US: Final = 4_000_000
_UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Served:
    """An open bundle and the registered version that it is."""

    version: str
    run_id: str
    model: Model
    loaded_at_us: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version that is not served, and why."""

    version: str
    digest: str | None
    reason: str
    at_us: int


class Outcome(Enum):
    """What one look at the alias came to."""

    UNCHANGED = "unchanged"
    LOADED = "loaded"
    NO_ALIAS = "no_alias"
    REFUSED = "refused"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Look:
    """The outcome of one look, the bundle to serve from now on if there is one, and the reason if there is none."""

    outcome: Outcome
    served: Served | None = None
    reason: str | None = None


class BundleSlot:
    """Follows one alias of the registry; blocking, for one thread at a time.

    `look` finds what to serve next, and `keep` is told once requests go to it. Between the two nothing is written
    down, so that a crash leaves the old version as the last good one.

    Parameters
    ----------
    source
        The registry.
    alias
        The alias to follow; `pointed` is the version that it pointed to when it was looked at last, served or not, and
        `reached` whether the registry answered then; None until the first look has ended.
    loader, cache
        Open bundles, and keep them.
    clock
        The present moment.
    """

    def __init__(
        self, source: VersionSource, alias: str, loader: BundleLoader, cache: BundleCache, clock: Clock
    ) -> None:
        self.alias = alias
        self.served: Served | None = None
        self.refusal: Refusal | None = None
        self.away: str | None = None
        self.pointed: str | None = None
        self.reached: bool | None = None
        self._heard: str | None = None
        self._not_replaced: LastGood | None = None
        self._unfit: str | None = None
        self._source = source
        self._loader = loader
        self._cache = cache
        self._clock = clock
        self._pause = _Pause()

    def hears_news(self) -> bool:
        """Return whether another process of this machine has just gone over to other bytes: a reason to look at once.

        True once for each change; which version to serve is still the registry's to say.
        """
        good, before = self._last_good(), self._heard
        self._heard = None if good is None else good.digest
        return self._heard not in {None, before, None if self.served is None else self.served.model.digest}

    def resume(self) -> Served | None:
        """Return the last good version from disk, None where there is none that is whole."""
        good = self._last_good()
        model = None if good is None else self._loader.reopen(good.digest)
        if good is None or model is None:
            return None
        return Served(good.version, good.run_id, model, self._clock())

    def look(self, *, insist: bool = False) -> Look:
        """Look at the alias and open what it points to, if that is new.

        Parameters
        ----------
        insist
            Try again what was refused, and what failed a moment ago.
        """
        if insist:
            self.refusal = None
            self._pause = _Pause()
        elif self._pause.holds(self._clock()):
            return Look(Outcome.AWAY, reason=self.away)
        try:
            look = self._follow(insist=insist)
        except UnavailableError as error:
            self.away, self.reached = str(error), isinstance(error, DiskError)
            self._pause = self._pause.longer(self._clock())
            return self._of_others() or Look(Outcome.AWAY, reason=self.away)
        except RegistryError as error:
            # The registry answers, but has no such version: as bad as one that must not be served.
            look = self._refused(Refusal(_UNKNOWN, None, str(error), self._clock()))
        self.away, self.reached = None, True
        self._pause = _Pause()
        return look

    def keep(self, served: Served) -> None:
        """Note that requests go to a version now; older bundles but the one before go from disk.

        Where the disk is full or read-only the log says so, and what is served stays so.
        """
        good, digest = self._last_good(), served.model.digest
        previous = _previous(good, digest)
        self.served = served
        self.refusal = None
        self._not_replaced = good
        with self._said("note"):
            self._cache.remember(LastGood(served.version, digest, served.run_id, previous))
            self._not_replaced = None
        with self._said("prune"):
            self._cache.prune({digest, previous or digest})

    def fetch_previous(self) -> LastGood | None:
        """Return a note of what is served in which the version that a rollback goes to follows; None: it is noted.

        That one is on disk then, whoever served it: a server of today has not, nor one that was away for two moves.

        Raises
        ------
        UnavailableError
            If the registry or the disk is in the way.
        """
        good, target = self._last_good(), self._source.by_alias(ALIAS_PREVIOUS)
        if good is None or target is None or target.digest in {None, good.digest, self._unfit}:
            return None
        if target.digest == good.previous and self._cache.holds(good.previous):
            return None
        try:
            self._loader.fetch(target)
        except RefusedError as error:
            self._unfit = target.digest
            log.warning("previous_refused", version=target.version, reason=str(error))
            return None
        return replace(good, previous=target.digest)

    def note_previous(self, note: LastGood) -> None:
        """Let the version that a rollback goes to stay on disk, if what is served is what it was when it was fetched.

        Where the disk is full or read-only the log says so.

        Parameters
        ----------
        note
            As `fetch_previous` returned it.
        """
        good = self._last_good()
        if good is not None and good.digest == note.digest:
            with self._said("note_previous"):
                self._cache.remember(note)

    @contextmanager
    def _said(self, step: str) -> Iterator[None]:
        """Let a step fail for the sake of the disk, with a word in the log."""
        try:
            yield
        except OSError as error:
            do = (
                f"make {self._cache.folder} writable, with room for three bundles, and restart: until then a start "
                "without MLflow serves the version that was noted before"
            )
            log.warning("bundle_not_kept", step=step, error=str(error), do=do)

    def _last_good(self) -> LastGood | None:
        try:
            return self._cache.last_good()
        except (MarqueeError, OSError) as error:
            log.warning("last_good_unreadable", error=str(error))
            return None

    def _of_others(self) -> Look | None:
        """Return the version that another process went over to before the registry was away, None where none did.

        A note that this process could not replace is nobody's news.
        """
        good = self._last_good()
        if good is None or good == self._not_replaced or self.served is None or good.digest == self.served.model.digest:
            return None
        served = self.resume()
        return None if served is None else Look(Outcome.LOADED, served)

    def _follow(self, *, insist: bool) -> Look:
        target = self._source.by_alias(self.alias)
        self.pointed = None if target is None else target.version
        if target is None:
            return Look(Outcome.NO_ALIAS, reason=f"no version has the alias {self.alias!r}")
        if self.served is not None and self.served.model.digest == target.digest:
            return self._same_bytes(self.served, target)
        if self.refusal is not None and (self.refusal.version, self.refusal.digest) == (target.version, target.digest):
            return Look(Outcome.UNCHANGED, reason=self.refusal.reason)
        return self._open(target, insist=insist)

    def _same_bytes(self, served: Served, target: RegisteredVersion) -> Look:
        self.refusal = None
        if served.version == target.version:
            return Look(Outcome.UNCHANGED)
        return Look(Outcome.LOADED, Served(target.version, target.run_id, served.model, self._clock()))

    def _open(self, target: RegisteredVersion, *, insist: bool) -> Look:
        try:
            model = self._loader.load(target, insist=insist)
        except RefusedError as error:
            return self._refused(Refusal(target.version, target.digest, str(error), self._clock()))
        return Look(Outcome.LOADED, Served(target.version, target.run_id, model, self._clock()))

    def _refused(self, refusal: Refusal) -> Look:
        """Note a refusal, and say so in the log unless it is the one that was said last."""
        if self.refusal is not None and self.refusal.reason == refusal.reason:
            return Look(Outcome.UNCHANGED, reason=refusal.reason)
        self.refusal = refusal
        log.warning("version_refused", version=refusal.version, reason=refusal.reason)
        return Look(Outcome.REFUSED, reason=refusal.reason)


def _previous(good: LastGood | None, digest: str) -> str | None:
    """Return the bundle that was served before one, by any process of this machine, as the last good version tells."""
    if good is None:
        return None
    return good.previous if good.digest == digest else good.digest


@dataclass(frozen=True, slots=True)
class _Pause:
    """How long to leave a failing registry alone: twice as long after each failure, up to 4 s."""

    length_us: int = 0
    until_us: int = 0

    def holds(self, now_us: int) -> bool:
        # A clock that was set back must not stretch the pause.
        return now_us < self.until_us <= now_us + self.length_us

    def longer(self, now_us: int) -> "_Pause":
        length = min(max(self.length_us * 2, _PAUSE_US), _LONGEST_PAUSE_US)
        return _Pause(length, now_us + length)
