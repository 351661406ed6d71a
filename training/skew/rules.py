"""What the skew guard goes by: its thresholds, and how long its word holds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DriftRules:
    """When served rows count as having drifted.

    Attributes
    ----------
    moderate, large
        PSI from which a column has moved somewhat, and much (the usual .1 and .25).
    min_lists
        With fewer lists there is no verdict: what is of a user stands in all rows of a list, and the index of n values
        in b bins is some b / n by chance alone.
    least_importance
        Share of the ranker's gain below which a feature is not named, such as the hour where moments are few.
    decisive
        Share of the gain that features which moved much bring together, from which the whole has drifted: some always
        move, as histories grow longer and items older. The scores alone are enough.
    """

    moderate: float = 0.1
    large: float = 0.25
    min_lists: int = 200
    least_importance: float = 0.01
    decisive: float = 0.25


@dataclass(frozen=True, slots=True)
class GuardRules:
    """How a promotion depends on what was found of the version that serves.

    Attributes
    ----------
    days
        For so long a finding holds; an older one is forgotten.
    drift_blocks
        Whether large drift needs a person, too.
    """

    days: float = 3.0
    drift_blocks: bool = False
