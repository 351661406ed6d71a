"""The alias of the version that stands for promotion: which one that is follows from the versions alone."""

from collections.abc import Mapping, Sequence
from typing import Final

from training.bundle.versions import ALIAS_PREVIOUS, TAG_GATE, Aliased, RegisteredVersion

ALIAS_CHALLENGER: Final = "challenger"
REFUSED: Final = "refused"


def challenger_of(versions: Sequence[RegisteredVersion], aliases: Mapping[str, str], champion: str) -> str | None:
    """Return the newest version that the gate did not refuse, if it is newer than the one that serves.

    What was rolled back from (`previous`) does not stand for promotion again by itself.

    Parameters
    ----------
    versions
        All of them.
    aliases
        The version that each alias points to.
    champion
        The alias that is served.
    """
    serves = int(aliases.get(champion, 0))
    standing = [
        int(version.version)
        for version in versions
        if int(version.version) > serves
        and version.version != aliases.get(ALIAS_PREVIOUS)
        and version.tags.get(TAG_GATE) != REFUSED
    ]
    return str(max(standing)) if standing else None


def refresh_challenger(registry: Aliased, champion: str) -> str | None:
    """Return the version that the alias `challenger` points to from now on, None where it is taken away.

    To be called whenever a version was registered, judged or promoted; again changes nothing.
    """
    aliases = registry.aliases()
    wanted = challenger_of(registry.versions(), aliases, champion)
    if wanted is None:
        if ALIAS_CHALLENGER in aliases:
            registry.delete_alias(ALIAS_CHALLENGER)
    elif aliases.get(ALIAS_CHALLENGER) != wanted:
        registry.set_alias(ALIAS_CHALLENGER, wanted)
    return wanted
