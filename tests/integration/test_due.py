"""When a training is due by what has landed: counted in a real Postgres, landed through a real Kafka."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from features.admin.erasure import erase
from features.build.landed import landed_since
from features.db.connection import connect
from features.settings import Settings
from tests.support.commands import run_command
from tests.support.landing import START, Rig, interaction, recreate_topics
from training.due import last_training
from training.steps.runner import SKIP_EXIT_CODE

pytestmark = pytest.mark.integration


@pytest.fixture
def rig(database_url: str, kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Yield a rig over a fresh database, fresh topics and a work folder of its own."""
    settings = Settings(
        database_url=SecretStr(database_url),
        kafka_bootstrap_servers=kafka_bootstrap,
        erasure_secret=SecretStr("of a test"),
        work_dir=tmp_path / "work",
    )
    monkeypatch.setenv("MARQUEE_WORK_DIR", str(settings.work_dir))
    recreate_topics(settings, partitions=2)
    rig = Rig(settings)
    yield rig
    rig.end()


def due(rig: Rig, events: int, *options: str) -> tuple[int, str]:
    """Return exit code and words of the command."""
    done = run_command("training", "due", "--events", str(events), *options, environment=rig.environment)
    return done.returncode, done.stdout + done.stderr


def test_what_has_landed_is_counted_once_however_late_it_is_and_without_who_was_erased(rig: Rig) -> None:
    before = datetime.now(UTC) - timedelta(minutes=5)
    assert due(rig, 1)[0] == SKIP_EXIT_CODE  # nothing landed
    rig.produce(interaction(number) for number in range(40))  # one of each user
    late = START - timedelta(days=900)
    rig.produce([interaction(40, user_id="u1", occurred_at=late.isoformat()), interaction(3)])  # years old; again
    rig.produce([interaction(41, action="search", item_id=None, query="roses")])  # of no item
    rig.land_all()
    assert landed_since(rig.settings, before) == 41
    with connect(rig.settings, name="test") as connection:
        erase(rig.settings, connection, "u1", datetime.now(UTC))  # two of them
    assert landed_since(rig.settings, before) == 39

    assert due(rig, 40)[0] == SKIP_EXIT_CODE
    assert last_training(rig.settings.work_dir) < before, "what is not enough calls for nothing"
    code, words = due(rig, 39)
    assert (code, "39 interactions landed" in words) == (0, True), words
    assert due(rig, 39, "--note") == (code, words), "who only looks changes nothing"
    assert due(rig, 39)[0] == SKIP_EXIT_CODE, "the same events call for one training"

    rig.produce([interaction(42, user_id="u2", occurred_at=late.isoformat()), interaction(43, user_id="u1")])
    rig.land_all()  # who was erased stays away
    assert landed_since(rig.settings, last_training(rig.settings.work_dir)) == 1
    assert due(rig, 1)[0] == 0
