"""How far live statistics have come, what the data were like until then, and the weights that this leads to."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import msgspec

from features.contracts.found_weights import USUAL, DataShape, weights_for
from features.contracts.statistics import BUCKET_US, bucket_edge
from features.contracts.times import EPOCH, from_us, to_us
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
    whole_since
        Retention has deleted no interaction that became known later.
    """

    closed_at: datetime = EPOCH
    read_until: datetime = EPOCH
    shape: DataShape = field(default_factory=DataShape)
    weights: ActionWeights | None = None
    whole_since: datetime = EPOCH

    @property
    def base_at(self) -> datetime:
        """Return the edge up to which rows hold events that are there no more; 1970 where all are."""
        if self.whole_since == EPOCH:
            return EPOCH
        return min(from_us(bucket_edge(to_us(self.whole_since)) + BUCKET_US), self.closed_at)

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
    closed_at, read_until, largest_rating, weights, events, whole_since = row
    shape = DataShape(events, largest_rating)
    return Progress(closed_at, read_until, shape, ActionWeights.from_json(weights), whole_since)


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
