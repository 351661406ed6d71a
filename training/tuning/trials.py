"""Finished trials, as every part of a search, a run's records and MLflow tell them."""

from datetime import datetime

import msgspec


class Trial(msgspec.Struct, frozen=True):
    """One finished trial.

    Attributes
    ----------
    stage, number
        Which search it belongs to, and its place there from 0; 0 is what was in force before.
    values
        The settings tried, by path.
    score
        What the search maximises.
    """

    stage: str
    number: int
    values: dict[str, float]
    score: float
    started_at: datetime
    ended_at: datetime

    @property
    def name(self) -> str:
        """Return a name that no other trial of the run has, such as `als-003`."""
        return f"{self.stage}-{self.number:03d}"
