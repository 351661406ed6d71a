"""How far live statistics have come, what the data were like until then, and the weights that this leads to."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import msgspec

from features.contracts.found_weights import USUAL, DataShape, weights_for
from features.contracts.times import EPOCH
from features.contracts.weights import ActionWeights
from features.contracts.weights_file import SaidWeights
from features.db.connection import Connection
from features.db.queries import queries

RATING: Final = "rating"
FEW_RATINGS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Progress:
    """Where statistics stand.

    Attributes
    ----------
    closed_at
        The newest bucket edge that they have reached.
    read_until
        Rows that landed before it are in the shape.
    shape
        Of all events that ever landed, also of those that retention has deleted since: weights do not move with it.
    weights
        By which the rows were computed; None before the first refresh.
    """

    closed_at: datetime = EPOCH
    read_until: datetime = EPOCH
    shape: DataShape = field(default_factory=DataShape)
    weights: ActionWeights | None = None

    def weighed(
        self, connection: Connection, read_until: datetime, said: SaidWeights
    ) -> tuple[DataShape, ActionWeights]:
        """Return the shape of everything that landed before a time, and the weights for it; reads only what is new."""
        rows = list(queries.landed_shape(connection, since=self.read_until, until=read_until))
        shape = self.shape + DataShape({action: count for action, count, _ in rows})
        largest = max((value for action, _, value in rows if action == RATING), default=0.0)
        # Few ratings say little of their scale: it is looked for in all of them until they are many.
        if largest > self.shape.largest_rating or (largest and shape.events[RATING] <= FEW_RATINGS):
            usual = queries.usual_rating(connection, until=read_until, share=USUAL)
            shape = replace(shape, largest_rating=usual or 0.0)
        return shape, weights_for(shape, said, before=self.weights)


def read_progress(connection: Connection) -> Progress:
    """Return where the last refresh has come to; nowhere before the first."""
    row = queries.statistics_progress(connection)
    if row is None:
        return Progress()
    closed_at, read_until, largest_rating, weights, events = row
    return Progress(closed_at, read_until, DataShape(events, largest_rating), ActionWeights.from_json(weights))


def keep_progress(
    connection: Connection, closed_at: datetime, read_until: datetime, shape: DataShape, weights: ActionWeights
) -> None:
    """Remember where a refresh has come to."""
    queries.keep_progress(
        connection,
        closed_at=closed_at,
        read_until=read_until,
        largest_rating=shape.largest_rating,
        weights=msgspec.json.encode(weights.to_json()).decode(),
        events=msgspec.json.encode(shape.events).decode(),
    )
