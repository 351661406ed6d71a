"""What a request asks for, once its form is checked: the input of the pipeline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

MAX_K: Final = 500
DEFAULT_K: Final = 20
MAX_CANDIDATES: Final = 1000
MAX_EXCLUDED: Final = 1000
MAX_CATEGORIES: Final = 100
MAX_ACTIONS: Final = 32

Kind = Literal["feed", "similar", "trending", "new"]
"""What a list is of; `serving.kinds` makes each."""


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
    kind
        What the list is of.
    item_id
        Whose like a list of similar items holds; None = of the user's latest liked item.
    history
        Acts of this session, in the order in which they happened.
    candidates
        Rank exactly these instead of retrieving.
    categories
        Only items in at least one of them; empty = all.
    seen_actions
        Only what the user's latest events did in one of these ways counts as seen, and stays away; empty = whatever
        the user ever did, as `include_seen` and the served version have it.
    in_full
        Whether an explanation also tells feature values and event ids of the user, which are theirs and the operator's.
    diversity
        How much the list avoids items that are like those above them, 0 to 1; None = as the server is set.
    fresh_share
        Share of the places that goes to items nobody has acted on, rounded up, 0 to 1; None = as the server is set.
    fresh_draw
        How likely it is for each of these places that its item is drawn by lot; None = as the server is set.
    deadline_s
        How long the answer may take; None = as the server is set.
    """

    user_id: str | None
    k: int = DEFAULT_K
    kind: Kind = "feed"
    item_id: str | None = None
    history: Sequence[InlineEvent] = ()
    candidates: Sequence[str] | None = None
    categories: Sequence[str] = ()
    exclude: Sequence[str] = ()
    include_seen: bool | None = None
    seen_actions: Sequence[str] = ()
    experiment_id: str | None = None
    explain: bool = False
    in_full: bool = False
    diversity: float | None = None
    fresh_share: float | None = None
    fresh_draw: float | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    deadline_s: float | None = None

    @property
    def tells_all(self) -> bool:
        """Return whether its explanation holds nothing back: of an anonymous session the request itself told all."""
        return self.in_full or self.user_id is None


@dataclass(frozen=True, slots=True)
class Mixing:
    """How lists are mixed where a request does not say: `MARQUEE_FRESH_SHARE` and its neighbours."""

    fresh_share: float = 0.0
    fresh_draw: float = 0.0
    diversity: float = 0.0
