"""The embedder: follows the database, embeds what changed and what the scan finds, and goes on through outages."""

import threading
import time
from dataclasses import dataclass
from typing import Final

import structlog

from features.contracts.errors import UnavailableError
from features.db.connection import Connection, connect, database_errors
from features.db.queries import queries
from features.embedding.batches import Outcome, embed_batch, prepare
from features.embedding.fit_process import FitProcess
from features.embedding.fitting import need_of_fit
from features.embedding.in_use import InUse
from features.embedding.scan import Scan
from features.embedding.telemetry import Telemetry
from features.embedding.upkeep import forget_some, mark_ready, retire
from features.patience import Patience
from features.settings import Settings

log = structlog.get_logger()

IDLE_S: Final = 1.0
"""How long to wait to be woken before looking at the queue by itself: a lost wake-up costs no more."""
LOOK_S: Final = 2.0
"""Seconds between two looks at which encoders there are."""
NEED_S: Final = 600.0
"""Seconds between two looks at whether texts drift away from the encoder."""
GROWTH_S: Final = 10.0
"""The same while there is no encoder, or one of a small corpus."""
RETIRE_S: Final = 30.0
"""Seconds between two looks for encoders that nobody needs."""
TRANSACTION_S: Final = 120
"""Seconds that a batch may take in all, and half of them without a word to the server: a frozen embedder lets go."""


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How one embedder works.

    Attributes
    ----------
    batch
        Texts of a batch at most.
    once
        Whether to end once every item has a vector by every encoder in use.
    scan_every_s
        Seconds between two scans of all items, at least.
    fits
        Whether to fit a new encoder when one is needed, in a process of its own.
    metrics_host, metrics_port
        Where Prometheus finds the process' series; port 0 for nowhere.
    """

    batch: int = 500
    once: bool = False
    scan_every_s: float = 60.0
    fits: bool = True
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0


class Embedder:
    """One embedder; any number of them share the work.

    Parameters
    ----------
    settings
        Where Postgres is, and where copies of encoders lie.
    options
        How to work.
    stop
        Set it to let the batch under way finish and leave.
    """

    def __init__(self, settings: Settings, options: EmbedOptions, stop: threading.Event) -> None:
        self._settings = settings
        self._options = options
        self._stop = stop
        self._patience = Patience(stop)
        self._open: Connection | None = None
        self._in_use = InUse(settings)
        self._scan = Scan(options.scan_every_s)
        self._fit = FitProcess()
        self._telemetry = Telemetry(options.metrics_host, options.metrics_port)
        self._look_s = self._need_s = self._retire_s = 0.0
        self._ended = False

    def run(self) -> None:
        """Embed until told to stop, or until everything is embedded if so asked."""
        try:
            while not self._stop.is_set() and not self._ended:
                self._patience.until_done(self._step, on_failure=self._disconnect)
        except UnavailableError as error:
            if not self._stop.is_set():
                raise
            log.warning("stopped while waiting; what was not embedded waits in the queue", reason=str(error))
        finally:
            self._fit.end()
            self._disconnect()
            self._telemetry.write(None, final=True)

    def _step(self) -> None:
        with database_errors("embedding texts"):
            connection = self._connection()
            self._look(connection)
            outcome = self._embed(connection)
            full = outcome.claimed >= self._options.batch
            if not full and self._in_use.encoders and self._scan.due:
                full = self._scan.step(connection, self._in_use.encoders) > 0
            self._telemetry.write(connection)
            if full:
                return
            self._upkeep(connection)
            self._need(connection)
            if self._options.once and not outcome.claimed:
                self._ended = self._drained(connection)
            if not self._ended:
                self._wait(connection, outcome)

    def _connection(self) -> Connection:
        if self._open is None:
            connection = connect(self._settings, name="embedder", autocommit=True)
            self._open = connection
            queries.bound_transactions(connection, idle=f"{TRANSACTION_S // 2}s", whole=f"{TRANSACTION_S}s")
            prepare(connection)
            queries.listen_to_texts(connection)
            self._look_s = 0.0
            self._scan.again()
            self._telemetry.following(yes=True)
        return self._open

    def _disconnect(self) -> None:
        self._telemetry.following(yes=False)
        if self._open is not None:
            self._open.close()
            self._open = None

    def _look(self, connection: Connection) -> None:
        """See which encoders there are, if it is time."""
        if time.monotonic() < self._look_s:
            return
        if self._in_use.look(connection):
            self._scan.again()
        self._look_s = time.monotonic() + LOOK_S

    def _embed(self, connection: Connection) -> Outcome:
        if not self._in_use.encoders:
            return Outcome()
        with self._telemetry.timed():
            outcome = embed_batch(connection, self._in_use.encoders, min(self._options.batch, self._in_use.batch))
        if outcome.claimed:
            self._telemetry.add(outcome)
        return outcome

    def _upkeep(self, connection: Connection) -> None:
        """Let encoders be ready that are whole, and let those go that nobody needs."""
        if self._in_use.building and self._scan.resting:
            if mark_ready(connection):
                self._look_s = self._need_s = 0.0
            else:
                self._scan.again()
        if time.monotonic() >= self._retire_s:
            self._retire_s = time.monotonic() + RETIRE_S
            retire(connection)
        forget_some(connection)

    def _need(self, connection: Connection) -> None:
        """Begin a fit if one is needed; it goes on beside us."""
        if not self._options.fits or self._fit.runs() or time.monotonic() < self._need_s:
            return
        need = need_of_fit(self._settings, connection, at_once=self._options.once)
        self._need_s = time.monotonic() + (
            IDLE_S if not self._in_use.any else GROWTH_S if self._in_use.small else NEED_S
        )
        if need.drift is not None:
            self._telemetry.explained(need.drift.explained)
        if need.reason is not None and self._fit.begin(self._settings):
            log.info("a new encoder is needed", reason=need.reason)
            self._telemetry.fit_begun()

    def _drained(self, connection: Connection) -> bool:
        """Return whether there is nothing left to do: not for others either, who may have claimed the last rows."""
        if self._fit.runs():
            return False
        if not self._in_use.encoders:
            return self._in_use.any or not self._options.fits or not queries.count_texts(connection)
        changed, scanned, _ = queries.queue_stand(connection)
        return not (changed or scanned or self._in_use.building) and self._scan.resting

    def _wait(self, connection: Connection, outcome: Outcome) -> None:
        """Wait to be woken; a moment only where something was to do."""
        pause_s = 0.0 if outcome.claimed else 0.05 if self._options.once else IDLE_S
        for notice in connection.notifies(timeout=pause_s, stop_after=1):
            if notice.channel == "encoders_changed":
                self._look_s = 0.0
