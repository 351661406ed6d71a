"""What a request asks for, once its form is checked: the input of the pipeline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MAX_K: Final = 500
DEFAULT_K: Final = 20
MAX_CANDIDATES: Final = 1000
MAX_EXCLUDED: Final = 1000
MAX_CATEGORIES: Final = 100


@dataclass(frozen=True, slots=True)
class InlineEvent:
    """An act that the request itself brings along; without a time it is the newest."""

    item_id: str
    action: str = "view"
    value: float | None = None
    at_us: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One wish for recommendations.

    Attributes
    ----------
    user_id
        None for an anonymous session.
    history
        Acts of this session, in the order in which they happened.
    candidates
        Rank exactly these instead of retrieving.
    categories
        Only items in at least one of them; empty = all.
    diversity
        How much the list avoids items that are like those above them, 0 to 1; None = as the server is set.
    deadline_s
        How long the answer may take; None = as the server is set.
    """

    user_id: str | None
    k: int = DEFAULT_K
    history: Sequence[InlineEvent] = ()
    candidates: Sequence[str] | None = None
    categories: Sequence[str] = ()
    exclude: Sequence[str] = ()
    include_seen: bool | None = None
    experiment_id: str | None = None
    explain: bool = False
    diversity: float | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class Mixing:
    """How lists are mixed where a request does not say: `MARQUEE_FRESH_SHARE` and `MARQUEE_DIVERSITY`."""

    fresh_share: float = 0.0
    diversity: float = 0.0
