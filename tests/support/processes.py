"""Environments of the commands that tests start."""

import os
from collections.abc import Mapping
from typing import Final

_COVERAGE: Final = "COVERAGE_"


def uncounted(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return an environment in which coverage does not count the lines of a command.

    For commands that are to be killed, which could not tell, and for those that compute for long: counting doubles
    their time, and tests of the same code in their own process count its lines.
    """
    return {name: value for name, value in environment.items() if not name.startswith(_COVERAGE)}


def is_counted(environment: Mapping[str, str]) -> bool:
    """Return whether coverage counts the lines of a command in an environment."""
    return any(name.startswith(_COVERAGE) for name in environment)
