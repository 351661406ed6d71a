"""Price and year of one item, from what the catalogue says of it now: by the rules of `training.catalogue.load_facts`.

Training reads files by columns, with pandas; a server reads items one by one, and has no pandas. A property test holds
the two to the same numbers.
"""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

PRICE: Final = "price"
YEAR_NAMES: Final = (
    "year",
    "release_year",
    "publication_year",
    "original_publication_year",
    "release_date",
    "released_at",
    "publication_date",
)
"""Columns, or members of `attributes`, that tell the year of a work; the first that says something counts."""
FACT_NAMES: Final = (PRICE, *YEAR_NAMES)
"""All members of `attributes` that are read here."""

EARLIEST_YEAR: Final = -5000
LATEST_YEAR: Final = 2200
"""Numbers in this range are years, others seconds or milliseconds since 1970."""
LARGEST_S: Final = 1e11
"""Times of larger magnitude are milliseconds: as seconds they would lie after the year 5000."""
END_OF_TITLE: Final = re.compile(r"\((\d{4})(?:\s*[-\u2013\u2014]\s*(?:\d{4})?)?\)\s*$")
START_OF_DATE: Final = re.compile(r"^\s*(\d{4})(?!\d)")
_NUMBER: Final = re.compile(r"[ \t\n\v\f\r]*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t\n\v\f\r]*")

UNKNOWN: Final = math.nan


def facts_of(title: str, attributes: Mapping[str, Any], published_at: datetime | None) -> tuple[float, float]:
    """Return price and year of an item, NaN where the catalogue does not say.

    Parameters
    ----------
    title
        May end with the year in parentheses.
    attributes
        Decoded JSON; only `FACT_NAMES` are read.
    published_at
        Aware; its year counts where nothing else tells one.

    >>> facts_of("Toy Story (1995)", {"price": "9.5"}, None)
    (9.5, 1995.0)
    """
    price = _number(attributes.get(PRICE))
    return (price if price >= 0 else UNKNOWN), _first_known(_years(title, attributes, published_at))


def _years(title: str, attributes: Mapping[str, Any], published_at: datetime | None) -> Iterable[float]:
    """Yield the years that each place tells, NaN where none, the place that is to be believed first."""
    for name in YEAR_NAMES:
        yield _year(attributes.get(name))
    ending = END_OF_TITLE.search(title)
    yield UNKNOWN if ending is None else _number(ending[1])
    if published_at is not None:
        yield float(published_at.astimezone(UTC).year)


def _year(value: Any) -> float:
    """Return the year that a value tells: a year, a date as text, or seconds or milliseconds since 1970."""
    number = _number(value)
    if math.isnan(number):
        begun = START_OF_DATE.match(value) if isinstance(value, str) else None
        number = UNKNOWN if begun is None else _number(begun[1])
    elif not EARLIEST_YEAR <= number <= LATEST_YEAR:
        number = _year_of_time(number / 1000 if abs(number) > LARGEST_S else number)
    return number or UNKNOWN


def _year_of_time(seconds: float) -> float:
    with np.errstate(invalid="ignore"):
        moment = np.array([seconds]).astype("datetime64[s]")
    return float(moment.astype("datetime64[Y]").astype(np.float64)[0] + 1970)


def _number(value: Any) -> float:
    """Return a value as a finite number, NaN where it is none; truth values count as 1 and 0."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return UNKNOWN
    try:
        number = float(value) if isinstance(value, str | int | float) else UNKNOWN
    except OverflowError:
        return UNKNOWN
    return number if math.isfinite(number) else UNKNOWN


def _first_known(numbers: Iterable[float]) -> float:
    return next((number for number in numbers if not math.isnan(number)), UNKNOWN)
