"""Moving the alias that servers watch: to a version, or back to the one before."""

from collections.abc import Callable

import structlog

from features.contracts.errors import MarqueeError
from features.contracts.moves import Moved
from features.failpoints import failpoint
from training.bundle.challenger import refresh_challenger
from training.bundle.versions import ALIAS_PREVIOUS, TAG_ENCODER, TAG_GONE_BACK, Aliased, RegistryError

log = structlog.get_logger(__name__)


def move_alias(registry: Aliased, alias: str, version: str) -> str | None:
    """Let the alias point to a version, and `previous` to the one that it pointed to, which is returned.

    `previous` moves first: if the second move fails, the version that is served is also the one to roll back to,
    and moving again mends it.

    Raises
    ------
    RegistryError
        If the version is not there or has no digest, which servers refuse.
    """
    version = _refuse_without_digest(registry, version)
    current = registry.aliases().get(alias)
    if current == version:
        log.info("alias points there already", alias=alias, version=version)
        return current
    if current is not None:
        registry.set_alias(ALIAS_PREVIOUS, current)
    failpoint("after_previous")
    registry.set_alias(alias, version)
    log.info("alias moved", alias=alias, version=version, was=current)
    return current


def roll_back(registry: Aliased, alias: str, run: str = "") -> Moved:
    """Return the move of the alias back to `previous`; a second roll-back goes forth again.

    The alias moves first: what is served is what matters, and where to go back to is not forgotten before.

    Parameters
    ----------
    run
        Goes back once, however often it is tried: killed in between, it goes on.

    Raises
    ------
    RegistryError
        If there is no earlier version to go back to.
    """
    aliases = registry.aliases()
    current, previous = aliases.get(alias), aliases.get(ALIAS_PREVIOUS)
    if current is not None and (left := gone_back_from(registry, run)) not in {None, current}:
        registry.set_alias(ALIAS_PREVIOUS, str(left))
        log.info("alias moved back before", alias=alias, version=current, was=left, run=run)
        return Moved(current, current)
    if previous is None or previous == current:
        said = "none is served yet" if current is None else f"no version before {current!r} to go back to"
        raise RegistryError(
            f"model {registry.model_name!r}: {said}. `python -m training versions` lists all; "
            f"`python -m training promote VERSION` names one, as the alias {alias!r} in MLflow does."
        )
    _refuse_without_digest(registry, previous)
    if current is not None and run:
        registry.set_tags(current, {TAG_GONE_BACK: run})
    registry.set_alias(alias, previous)
    failpoint("after_back")
    if current is not None:
        registry.set_alias(ALIAS_PREVIOUS, current)
    log.info("alias moved back", alias=alias, version=previous, was=current)
    return Moved(current, previous)


def gone_back_from(registry: Aliased, run: str) -> str | None:
    """Return the version that a run went back from, or was about to; None where there is no such."""
    if not run:
        return None
    return next((one.version for one in registry.versions() if one.tags.get(TAG_GONE_BACK) == run), None)


def _refuse_without_digest(registry: Aliased, version: str) -> str:
    """Return a version's number as the registry writes it: MLflow takes `01` for 1."""
    found = registry.version(version)
    if found.digest is None:
        raise RegistryError(
            f"version {version} of model {registry.model_name!r} has no tag `digest`: servers would refuse it. "
            "Promote a version that `python -m training step register` published."
        )
    return found.version


class ServedAlias:
    """The alias that servers follow, and `previous` beside it: what `features.moves` moves and looks at.

    Parameters
    ----------
    tell
        Called as soon as the alias has moved, before what follows from it is done: who serves should know at once.
    """

    def __init__(self, registry: Aliased, alias: str, tell: Callable[[], None] = lambda: None) -> None:
        self._registry = registry
        self._alias = alias
        self._tell = tell

    def version(self) -> str | None:
        """Return the version that the alias points to."""
        return self._registry.aliases().get(self._alias)

    def previous(self) -> str | None:
        """Return the version that a rollback goes to."""
        return self._registry.aliases().get(ALIAS_PREVIOUS)

    def went_back(self, run: str) -> str | None:
        """Return the version that serves because a run went back to it; None where it did not."""
        now, left = self.version(), gone_back_from(self._registry, run)
        return None if left in {None, now} else now

    def remember(self, version: str) -> None:
        """Let a version be the one that a rollback goes to."""
        self._registry.set_alias(ALIAS_PREVIOUS, version)

    def encoder(self, version: str) -> str | None:
        """Return the encoder of texts that a version's bundle names, None where it names none."""
        return self._registry.version(version).tags.get(TAG_ENCODER)

    def promote(self, version: str) -> Moved:
        """Let the alias point to a version; see `move_alias`."""
        before = move_alias(self._registry, self._alias, version)
        self._tell()
        self._name_challenger()
        return Moved(before, version)

    def roll_back(self, run: str = "") -> Moved:
        """Let the alias point to the version before; see `roll_back`."""
        moved = roll_back(self._registry, self._alias, run)
        self._tell()
        self._name_challenger()
        return moved

    def _name_challenger(self) -> None:
        """Let `challenger` follow; that it could not is logged: the move is done, and the next training mends it."""
        try:
            refresh_challenger(self._registry, self._alias)
        except MarqueeError as error:
            log.warning("challenger_not_named", error=str(error))
