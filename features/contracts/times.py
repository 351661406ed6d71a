"""Instants as numbers: whole microseconds since 1970 UTC, exactly, never through a float."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from features.contracts.errors import ContractError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_us(at: datetime) -> int:
    """Return an aware instant as microseconds since 1970 UTC.

    >>> to_us(datetime(1970, 1, 2, tzinfo=UTC))
    86400000000
    """
    return (at - EPOCH) // _MICROSECOND


def zulu(at: datetime) -> str:
    """Return an aware instant in RFC 3339, in UTC.

    >>> zulu(datetime(1970, 1, 2, tzinfo=UTC))
    '1970-01-02T00:00:00Z'
    """
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def in_utc(at: datetime) -> datetime:
    """Return an aware instant in UTC.

    Raises
    ------
    ValueError
        If it is in no year from 1 to 9999 there.
    """
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("is no instant between the years 1 and 9999 in UTC") from None


def given_instant(text: str, name: str) -> datetime:
    """Return the instant that a person named, in UTC; without an offset it is UTC.

    >>> given_instant("2026-01-01T01:00:00+01:00", "--since").isoformat()
    '2026-01-01T00:00:00+00:00'

    Raises
    ------
    ContractError
        If it is none.
    """
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else in_utc(at)
    except ValueError as error:
        raise ContractError(f"{name}: {text!r}; expected an instant such as 2026-01-31T06:00:00Z") from error


def from_us(at_us: int) -> datetime:
    """Return the instant of some microseconds since 1970 UTC."""
    return EPOCH + timedelta(microseconds=at_us)


def told(at_us: int, *, has_clock: bool = True) -> str:
    """Return a time as people give it: an instant, or a number where times only order or no calendar has it.

    >>> told(86_400_000_000), told(86_400_000_000, has_clock=False), told(10**18)
    ('1970-01-02T00:00:00Z', '86400000000', '1000000000000000000 us')
    """
    with suppress(OverflowError):
        return zulu(from_us(at_us)) if has_clock else str(at_us)
    return f"{at_us} us"


def told_length(length_us: int, *, has_clock: bool = True) -> str:
    """Return how long something lasts, in days and to the second; a number where times only order.

    >>> told_length(53_604_298_000_001), told_length(7, has_clock=False)
    ('620 days, 10:04:58', '7')
    """
    length = timedelta(microseconds=length_us)
    whole = timedelta(days=length.days, seconds=length.seconds) or length
    return str(whole) if has_clock else str(length_us)
