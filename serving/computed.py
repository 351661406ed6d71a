"""What a list was computed from, and what the recommender made of it: kept with the lists that are recorded."""

from dataclasses import dataclass

from features.contracts.profiles import Options, UserHistory
from features.contracts.statistics import ItemStatistics
from serving.live import LiveModel
from training.bundle.result import Recommendations


@dataclass(frozen=True, eq=False, slots=True)
class Computed:
    """The inputs of one list, and the outcome: None where no candidate was left."""

    live: LiveModel
    history: UserHistory
    statistics: ItemStatistics
    as_of_us: int
    options: Options
    ranked: Recommendations | None
