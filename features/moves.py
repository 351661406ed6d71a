"""Moves of the alias that servers follow: one at a time, each with an entry of who, from, to, when and why."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import structlog

from features.audit import AuditEvent, Deed, latest_moves, lock_moves, note, run_has_moved
from features.contracts.errors import MarqueeError, UnavailableError
from features.contracts.moves import Moved
from features.db.connection import Connection, connect
from features.failpoints import failpoint
from features.settings import Settings

log = structlog.get_logger(__name__)

Way = Literal["promote", "rollback"]

UNKNOWN: Final = "MLflow UI (unknown)"
"""Who moved the alias past us: MLflow does not tell."""
_NOTICED: Final = "moved in MLflow itself; the entry was made when it was noticed"
_WAIT_S: Final = 15.0
"""Another move takes some requests to MLflow, of at most a few seconds each."""


@dataclass(frozen=True, slots=True)
class Mover:
    """Who moves the alias.

    Attributes
    ----------
    actor
        "admin" for the token of the API, "airflow:NAME" for a user of Airflow, else the name of the account.
    reason
        Why, in their words; may be empty.
    correlation_id
        The request or the training run that does it.
    """

    actor: str
    reason: str = ""
    correlation_id: str = ""


class Pointer(Protocol):
    """The alias, as the registry has it."""

    def version(self) -> str | None:
        """Return the version that it points to."""
        ...

    def remember(self, version: str) -> None:
        """Let a version be the one that a rollback goes to."""
        ...

    def encoder(self, version: str) -> str | None:
        """Return the encoder of texts that a version's bundle names, None where it names none."""
        ...


class Moves:
    """Moves an alias under a lock that all movers of it share, and keeps its history in the audit.

    Where it went, or was found to point, the version's encoder is named: one that was retired is built again, so that
    what is published from now on is found there too.

    While Postgres is away the alias is moved all the same, without lock and entry: going back must always be possible.
    """

    def __init__(self, settings: Settings, pointer: Pointer) -> None:
        self._settings = settings
        self._pointer = pointer

    def make(
        self, way: Way, move: Callable[[], Moved], by: Mover, *, wanted: str | None = None, once: bool = False
    ) -> Moved:
        """Return where the alias went by a move, noted with who made it.

        Parameters
        ----------
        wanted
            Where it is to go, if that is known: found there without an entry, it is the mover's own doing, who was
            killed before it was noted.
        once
            Whether the mover is a run that may be tried again: what it has done is not done anew, since by now somebody
            may have moved the alias elsewhere. Where it points is returned then, as if nothing had moved.

        Raises
        ------
        MarqueeError
            What the move raises; nothing is noted then.
        """
        connection = self._alone_if_possible()
        if connection is None:
            return move()
        with closing(connection):
            with _logged(way):
                self._account_for(connection, but=wanted)
                if once and self._has_moved(connection, by) and (now := self._pointer.version()) is not None:
                    log.info("moved_before", run=by.correlation_id, version=now)
                    return Moved(now, now)
            moved = move()
            failpoint("after_alias")
            with _logged(way):
                self._note_own(connection, way, moved, by)
            with _logged("name"):
                self._name_encoder(connection, moved.after)
            return moved

    def notice(self) -> Moved | None:
        """Return the move that somebody made past us, noted now; None where every move has its entry.

        However many look at the same time, one of them notes it. The encoder of the version that serves is named in any
        case: who moved the alias may have been killed before.

        Raises
        ------
        UnavailableError
            If Postgres or the registry is away.
        """
        with closing(self._alone()) as connection:
            moved = self._account_for(connection)
            if (now := self._pointer.version()) is not None:
                self._name_encoder(connection, now)
            return moved

    def history(self, at_most: int) -> list[AuditEvent]:
        """Return the latest moves, newest first.

        Raises
        ------
        UnavailableError
            If Postgres is away.
        """
        with closing(connect(self._settings, name="moves")) as connection:
            return latest_moves(connection, self._settings.model_name, self._settings.model_alias, at_most)

    def _alone(self) -> Connection:
        """Return a connection that holds the lock until it is closed."""
        connection = connect(self._settings, name="moves", autocommit=True, statement_timeout_s=_WAIT_S)
        try:
            lock_moves(connection, self._settings.model_name, self._settings.model_alias)
        except BaseException:
            connection.close()
            raise
        return connection

    def _alone_if_possible(self) -> Connection | None:
        try:
            return self._alone()
        except UnavailableError as error:
            log.warning("moves_without_audit", error=str(error))
            return None

    def _account_for(self, connection: Connection, *, but: str | None = None) -> Moved | None:
        """Return the move that has no entry, once it has one; a rollback goes to where the alias was before it."""
        known, now = self._known(connection), self._pointer.version()
        if now is None or now in {known, but}:
            return None
        moved = Moved(known, now)
        self._note(connection, "promote", moved, Mover(UNKNOWN, _NOTICED))
        if known is not None:
            with _logged("remember"):
                self._pointer.remember(known)
        log.warning("alias_moved_past_us", before=known, after=now)
        return moved

    def _name_encoder(self, connection: Connection, version: str) -> None:
        # Not before a move: it takes a while to import, and going back is done in a hurry.
        from features.embedding.encoders import name_encoders  # noqa: PLC0415

        if (digest := self._pointer.encoder(version)) is not None:
            name_encoders(connection, [digest])

    def _note_own(self, connection: Connection, way: Way, moved: Moved, by: Mover) -> None:
        if moved.before != moved.after:
            self._note(connection, way, moved, by)
        elif (known := self._known(connection)) != moved.after:
            self._note(connection, way, Moved(known, moved.after), by)

    def _has_moved(self, connection: Connection, by: Mover) -> bool:
        """Return whether a run has an entry."""
        name, alias = self._settings.model_name, self._settings.model_alias
        return bool(by.correlation_id) and run_has_moved(connection, name, alias, by.correlation_id)

    def _known(self, connection: Connection) -> str | None:
        """Return where the alias went by its latest entry."""
        latest = latest_moves(connection, self._settings.model_name, self._settings.model_alias, 1)
        return latest[0].target if latest else None

    def _note(self, connection: Connection, way: Way, moved: Moved, by: Mover) -> None:
        where = {"alias": self._settings.model_alias, "model": self._settings.model_name}
        details = {**where, "from": moved.before, "reason": by.reason}
        note(connection, Deed(by.actor, way, moved.after, by.correlation_id, details))


@contextmanager
def _logged(doing: str) -> Iterator[None]:
    """Log that something could not be done beside a move: the move is what matters."""
    try:
        yield
    except MarqueeError as error:
        log.warning("beside_a_move", doing=doing, error=str(error))
