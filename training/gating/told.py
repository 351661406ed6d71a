"""Numbers and times as the gate writes them."""

from datetime import UTC, datetime
from typing import Final

from training.metrics import Estimate

MOST_USERS: Final = 1e10
"""From here on a count of users is no count, but says that no number would do."""


def shown(difference: Estimate) -> str:
    """Return a difference with its interval.

    >>> shown(Estimate(0.0123, -0.001, 0.03))
    '+0.0123 [-0.0010, +0.0300]'
    """
    return f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


def counted(number: float) -> str:
    """Return a count of users.

    >>> counted(12345.0), counted(float("inf"))
    ('12,345', 'more than can be told')
    """
    return f"{number:,.0f}" if number < MOST_USERS else "more than can be told"


def at(instant_us: int) -> str:
    """Return an instant to the minute.

    >>> at(0)
    '1970-01-01 00:00 UTC'
    """
    return f"{datetime.fromtimestamp(instant_us / 1e6, tz=UTC):%Y-%m-%d %H:%M} UTC"


def beside_champion(verdict: str, champion: str) -> str:
    """Return what was found against the champion, in words.

    >>> beside_champion("not worse", "3"), beside_champion("too few users", "3")
    ('not worse than champion 3', 'too few users to tell it from champion 3')
    """
    return f"{verdict} {'to tell it from' if verdict == 'too few users' else 'than'} champion {champion}"
