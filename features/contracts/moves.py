"""A move of the alias that servers follow."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moved:
    """From which version to which the alias went; the same where it pointed there already."""

    before: str | None
    after: str
