"""How landing's speed depends on the size of the table and on that of its batches; minutes long, for `bench-full`."""

import statistics
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import psycopg

from benchmarks.landing import landing
from benchmarks.record import RESULTS, record
from benchmarks.services import services
from benchmarks.streams import interactions, produce
from features.settings import Settings

SIZES: Final = (0, 1_000_000, 3_000_000, 10_000_000)
"""Rows that the table holds before a measurement."""
BATCHES: Final = (250, 1_000, 5_000, 20_000)
"""Values of `--batch-size`."""
EVENTS: Final = 200_000
"""Events of one measurement."""
ROUNDS: Final = 2
FILL_AT_ONCE: Final = 500_000
_FILL: Final = """
INSERT INTO interactions (event_id, user_id, item_id, action, occurred_at, known_at, landed_at, schema_version, context,
    topic, partition, kafka_offset)
SELECT gen_random_uuid(), 'u' || (random() * 1000000)::int, 'i' || (random() * 10000)::int, 'view', at, at, at, 1, '{}',
    'filled', 0, number
FROM generate_series(1, %s) AS number, LATERAL (SELECT now() - number * interval '1 second' AS at) AS time
"""


class _Run:
    """Measurements against the same services, each on events that never came before."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._next = 0
        self._rate(1_000)
        self._start_s = statistics.median(landing(settings)[0] for _ in range(3))

    def _rate(self, events: int, *options: str) -> float:
        produce(self._settings, interactions(range(self._next, self._next + events)))
        self._next += events
        return landing(self._settings, *options)[0]

    def rate(self, *options: str) -> int:
        """Return events per second, the median of some rounds."""
        return round(statistics.median(EVENTS / (self._rate(EVENTS, *options) - self._start_s) for _ in range(ROUNDS)))


def run() -> None:
    """Measure, write the figures, and draw them."""
    with services() as settings:
        measured = _Run(settings)
        by_batch = {size: measured.rate("--batch-size", str(size)) for size in BATCHES}
        print(f"landing by batch size: {by_batch}", flush=True)
        by_size = {}
        for rows in SIZES:
            _fill(settings, rows)
            by_size[rows] = measured.rate()
            print(f"landing into {rows:,} rows: {by_size[rows]:,} events/s", flush=True)
    figures = {"events": EVENTS, "by_batch_size": by_batch, "by_rows_in_table": by_size}
    record("landing_curves", figures | {"largest_to_empty": round(by_size[SIZES[-1]] / by_size[0], 2)})
    draw(figures)


def _fill(settings: Settings, rows: int) -> None:
    """Bring the table to a number of rows, with ids as random as those of events; 0 empties it."""
    url = settings.database_url.get_secret_value()
    with psycopg.connect(url, autocommit=True) as connection:
        if rows == 0:
            connection.execute("TRUNCATE interactions, user_seen")
        [count] = connection.execute("SELECT count(*) FROM interactions").fetchone() or (0,)
        while count < rows:
            more = min(FILL_AT_ONCE, rows - count)
            connection.execute(_FILL, [more])
            count += more
            print(f"  {count:,} rows", flush=True)
        connection.execute("VACUUM ANALYZE interactions")


def draw(figures: dict[str, Any]) -> None:
    """Draw both curves into `landing_curves.png`."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
    left.plot([int(size) for size in figures["by_batch_size"]], figures["by_batch_size"].values(), marker="o")
    left.set(xscale="log", xlabel="messages a batch", ylabel="events/s, topic to committed rows")
    right.plot([int(rows) / 1e6 for rows in figures["by_rows_in_table"]], figures["by_rows_in_table"].values(), "o-")
    right.set(xlabel="rows in the table before, millions", ylim=0)  # of both, once both are drawn
    figure.savefig(RESULTS / "landing_curves.png", dpi=110)
    plt.close(figure)
