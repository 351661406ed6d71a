"""A model version as a person names it: by its number or by an alias."""

from training.bundle.registry import Registry
from training.bundle.versions import RegisteredVersion, RegistryError


def named_version(registry: Registry, name: str) -> RegisteredVersion:
    """Return the version of a number such as `3`, or the one that an alias such as `champion` points to.

    Raises
    ------
    RegistryError
        If there is none, or it has no digest.
    """
    found = registry.version(name) if name.isdigit() else registry.by_alias(name)
    if found is None:
        raise RegistryError(
            f"model {registry.model_name!r}: no alias {name!r}; there are {sorted(registry.aliases()) or 'none'}. "
            "`python -m training versions` lists all versions."
        )
    if found.digest is None:
        raise RegistryError(
            f"version {found.version} of model {registry.model_name!r} has no tag `digest`: its files cannot be "
            "verified. Name a version that `python -m training step register` published."
        )
    return found
