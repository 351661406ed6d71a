"""What the gate decides on: two models on the same users of one window, and what is known of how they were made."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from features.admin.doctor import Diagnosis
from training.gating.results import RuleResult
from training.metrics import Floats

Values = Mapping[str, Floats]
"""Per-user values, float64 (n_users,), by metric; the same users in the same order for everyone."""


@dataclass(frozen=True, eq=False)
class Model:
    """One model in front of the gate.

    Attributes
    ----------
    values
        Of the judged users; empty arrays where nobody can be judged.
    shown_items
        Different items in all first ten places.
    average_popularity
        Share of users who had what stands in the first ten places, the mean over users; NaN where nobody was judged.
    trained_until_us
        End of training, microseconds since 1970 UTC.
    interactions
        Learned from.
    size_mb
        Of the bundle's files, in millions of bytes.
    latency_ms
        Of one list; None where it was not measured.
    """

    values: Values
    shown_items: int
    average_popularity: float
    trained_until_us: int
    interactions: int
    size_mb: float
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """How many of the champion's items the candidate holds, of how many."""

    known: int
    of: int

    @property
    def share(self) -> float:
        """Return the share; 1 where there is none to hold."""
        return self.known / self.of if self.of else 1.0


@dataclass(frozen=True, eq=False)
class Champion:
    """What serves, and what is compared with it.

    Attributes
    ----------
    model
        As it is today, on the same users.
    segments
        Values of candidate and champion of the users who count in a part, by the part's name, by metric.
    items, categories
        Of its items the candidate's: all, and in each of its categories.
    """

    model: Model
    segments: Mapping[str, Mapping[str, tuple[Floats, Floats]]] = field(default_factory=dict)
    items: Held = Held(0, 0)
    categories: Mapping[str, Held] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that rules look at.

    Attributes
    ----------
    candidate, popularity
        The new version, and a list of what is popular, on the judged users.
    champion
        None where no version serves yet, or what serves cannot be judged.
    why_no_champion
        Why what serves cannot be judged; empty where none serves.
    window_start_us
        Where the judging window begins: the later end of training.
    interactions_before
        Interactions of the run's data known before the candidate's end of training.
    changed
        How the run's data differ from what was taken; empty where they do not.
    leaks
        Signs that the candidate learned of the window, as sentences.
    serving_path
        What the last check of skew says of what serves; None where no version serves.
    doctor
        What the data doctor found; None where it was not asked.
    """

    candidate: Model
    popularity: Values
    champion: Champion | None
    window_start_us: int
    interactions_before: int
    changed: str = ""
    leaks: tuple[str, ...] = ()
    serving_path: RuleResult | None = None
    doctor: Diagnosis | None = None
    why_no_champion: str = ""

    @property
    def users(self) -> int:
        """Return the number of judged users."""
        return len(next(iter(self.candidate.values.values())))
