"""What one list is computed from."""

from dataclasses import dataclass

from features.contracts.profiles import Options, UserHistory
from features.contracts.statistics import ItemStatistics
from serving.kept import Basis
from serving.kinds import Wish
from serving.live import LiveModel


@dataclass(frozen=True, eq=False, slots=True)
class Inputs:
    """All that a list is computed from: taken once, so that nothing changes on the way.

    Attributes
    ----------
    basis
        What tells whether a list would be computed from other inputs later.
    missing
        Why the stored history is not in it, None where it is.
    unread
        Which states of items and statistics were not there yet, as reasons.
    recorded
        Whether what came of it is to be kept with the list.
    """

    live: LiveModel
    history: UserHistory
    statistics: ItemStatistics
    as_of_us: int
    options: Options
    wish: Wish
    basis: Basis
    missing: str | None
    unread: tuple[str, ...]
    recorded: bool
