"""Moves of the alias in a real Postgres: they take turns, and what was moved past us is noted once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from features.contracts.errors import UnavailableError
from features.contracts.moves import Moved
from features.db.connection import connect
from features.embedding.encoders import known_encoders, put_encoder
from features.moves import UNKNOWN, Mover, Moves
from features.settings import Settings
from tests.support.texts import small_encoder

pytestmark = pytest.mark.integration

ANA = Mover("airflow:ana", "a reason", "run 1")


@dataclass
class Pointer:
    """An alias in memory, whose registry may be taken away."""

    now: str | None = None
    previous: list[str] = field(default_factory=list)
    away: bool = False
    encoders: dict[str, str] = field(default_factory=dict)

    def version(self) -> str | None:
        """Return where it points."""
        if self.away:
            raise UnavailableError("MLflow is away")
        return self.now

    def remember(self, version: str) -> None:
        """Keep where a rollback goes."""
        self.previous.append(version)

    def encoder(self, version: str) -> str | None:
        """Return the encoder of a version."""
        return self.encoders.get(version)

    def to(self, version: str) -> Callable[[], Moved]:
        """Return the move to a version."""

        def move() -> Moved:
            before, self.now = self.version(), version
            return Moved(before, version)

        return move


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Return settings over a fresh database."""
    return Settings(database_url=SecretStr(database_url), model_name="m")


@pytest.fixture
def pointer() -> Pointer:
    """Return an alias that points nowhere."""
    return Pointer()


def told(moves: Moves) -> list[tuple[str, str, object, str]]:
    """Return who moved how, from where to where, oldest first."""
    return [(one.actor, one.action, one.details["from"], one.target) for one in reversed(moves.history(100))]


def test_a_move_is_noted_with_who_and_why_and_none_where_nothing_moves(settings: Settings, pointer: Pointer) -> None:
    moves = Moves(settings, pointer)
    for _ in range(2):
        moves.make("promote", pointer.to("1"), ANA, wanted="1")
    [entry] = moves.history(9)
    assert (entry.actor, entry.action, entry.target, entry.correlation_id) == ("airflow:ana", "promote", "1", "run 1")
    assert entry.details == {"alias": "champion", "model": "m", "from": None, "reason": "a reason"}
    other = Moves(settings.model_copy(update={"model_alias": "other"}), Pointer())
    assert other.history(9) == []


def test_a_move_past_us_is_noted_once_however_many_look(settings: Settings, pointer: Pointer) -> None:
    moves = Moves(settings, pointer)
    moves.make("promote", pointer.to("1"), ANA)
    pointer.now = "2"
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: Moves(settings, pointer).notice(), range(8)))
    assert [one for one in found if one is not None] == [Moved("1", "2")]
    assert told(moves) == [("airflow:ana", "promote", None, "1"), (UNKNOWN, "promote", "1", "2")]
    assert pointer.previous == ["1"]  # where a rollback goes from here


def test_a_move_past_us_is_noted_before_the_next(settings: Settings, pointer: Pointer) -> None:
    moves = Moves(settings, pointer)
    moves.make("promote", pointer.to("1"), ANA)
    pointer.now = "2"
    moves.make("rollback", pointer.to("1"), ANA)
    assert told(moves)[1:] == [(UNKNOWN, "promote", "1", "2"), ("airflow:ana", "rollback", "2", "1")]


def test_who_was_killed_before_noting_a_move_notes_it_when_trying_again(settings: Settings, pointer: Pointer) -> None:
    moves = Moves(settings, pointer)
    moves.make("promote", pointer.to("1"), ANA)
    pointer.now = "2"  # moved, and then killed
    moves.make("promote", pointer.to("2"), ANA, wanted="2")
    assert told(moves)[1:] == [("airflow:ana", "promote", "1", "2")]


def test_a_run_that_is_tried_again_does_not_undo_what_a_person_did_since(settings: Settings, pointer: Pointer) -> None:
    moves, ben = Moves(settings, pointer), Mover("airflow:ben", "a bad one", "run 2")
    moves.make("promote", pointer.to("1"), Mover("ana"))
    moves.make("promote", pointer.to("2"), ANA, wanted="2", once=True)
    moves.make("rollback", pointer.to("1"), ben, once=True)
    assert moves.make("promote", pointer.to("2"), ANA, wanted="2", once=True) == Moved("1", "1")
    assert moves.make("rollback", pointer.to("2"), ben, once=True) == Moved("1", "1")  # it would go forth again
    assert moves.make("promote", pointer.to("2"), Mover("ana"), wanted="2") == Moved("1", "2")  # no run
    assert [one[2:] for one in told(moves)] == [(None, "1"), ("1", "2"), ("2", "1"), ("1", "2")]


def test_wherever_the_alias_goes_an_encoder_that_was_retired_is_built_again(
    settings: Settings, pointer: Pointer
) -> None:
    moves = Moves(settings, pointer)
    with connect(settings, name="test", autocommit=True) as connection:
        old, other = (put_encoder(connection, small_encoder(60, seed=seed)) for seed in range(2))
        pointer.encoders = {"1": old, "2": other}

        def states() -> dict[str, str]:
            found = {one.digest: one.state for one in known_encoders(connection)}
            connection.execute("UPDATE encoders SET state = 'retired'")
            return found

        states()
        moves.make("promote", pointer.to("1"), ANA)
        assert states() == {old: "building", other: "retired"}
        moves.make("rollback", pointer.to("2"), ANA)
        assert states() == {old: "retired", other: "building"}
        pointer.now = "1"  # in MLflow's pages
        assert moves.notice() == Moved("2", "1")
        assert states() == {old: "building", other: "retired"}
        assert moves.notice() is None  # as the next server looks
        assert states() == {old: "building", other: "retired"}


def test_moves_at_the_same_time_take_turns(settings: Settings, pointer: Pointer) -> None:
    with ThreadPoolExecutor(6) as threads:
        versions = [str(number) for number in range(6)]
        moved = list(threads.map(lambda one: Moves(settings, pointer).make("promote", pointer.to(one), ANA), versions))
    entries = told(Moves(settings, pointer))
    assert [one[2] for one in entries] == [None, *(one[3] for one in entries[:-1])], "each goes on from the one before"
    assert {(one.before, one.after) for one in moved} == {(one[2], one[3]) for one in entries}


def test_what_fails_is_not_noted(settings: Settings, pointer: Pointer) -> None:
    moves = Moves(settings, pointer)
    moves.make("promote", pointer.to("1"), ANA)
    pointer.away = True
    for _ in range(2):
        with pytest.raises(UnavailableError):
            moves.make("promote", pointer.to("2"), ANA)
    with pytest.raises(UnavailableError):
        moves.notice()
    assert told(moves) == [("airflow:ana", "promote", None, "1")]


def test_without_postgres_the_alias_moves_all_the_same(pointer: Pointer) -> None:
    nowhere = Settings(database_url=SecretStr("postgresql://nobody:x@127.0.0.1:1/nothing"))
    moves = Moves(nowhere, pointer)
    assert moves.make("rollback", pointer.to("1"), ANA) == Moved(None, "1")
    with pytest.raises(UnavailableError):
        moves.notice()
