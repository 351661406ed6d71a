"""How many problems are named: the first of each event, and how many more there are; nobody reads a thousand."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

Problem = tuple[str, str]
"""Path of a field from the event's root ("items[2].item_id", "$" for the whole) and what is wrong with it."""

MOST_NAMED: Final = 20
"""Problems that are named of one event."""
MOST_COUNTED: Final = 1_000
"""Further ones that are counted: to look for all of them is what a sender of nothing but problems would want."""
LONGEST_PATH: Final = 256
"""Characters of a path; a key may be as long as its event, and stand before each of a thousand problems."""


def named(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the first `MOST_NAMED` of some problems and, as a last one, how many more there are.

    >>> named([("a", "missing")]), named([("a", "missing")] * 23)[-2:]
    ((('a', 'missing'),), (('a', 'missing'), ('$', 'and 3 more')))
    """
    rest = iter(problems)
    first = tuple((cut_path(path), message) for path, message in islice(rest, MOST_NAMED))
    more = sum(1 for _ in islice(rest, MOST_COUNTED + 1))
    return (*first, ("$", told_more(more))) if more else first


def told_more(count: int) -> str:
    """Return what is said of problems that are not named.

    >>> told_more(7), told_more(MOST_COUNTED + 1)
    ('and 7 more', 'and more than 1000 more')
    """
    return f"and {count} more" if count <= MOST_COUNTED else f"and more than {MOST_COUNTED} more"


def cut_path(path: str) -> str:
    """Return a path as it is, or the beginning of one that is too long."""
    return path if len(path) <= LONGEST_PATH else f"{path[: LONGEST_PATH - 1]}\N{HORIZONTAL ELLIPSIS}"


def or_else(problems: Iterable[Problem], others: Callable[[], Iterable[Problem]]) -> Iterator[Problem]:
    """Yield problems, or others where there are none."""
    found = False
    for problem in problems:
        found = True
        yield problem
    if not found:
        yield from others()
