"""Embedders killed again and again, side by side, and Postgres with them: each text is embedded, and once."""

import random
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from features.failpoints import EMBEDDING
from tests.conftest import WaitUntil
from tests.support.services import Services, own_services
from tests.support.texts import TextRig, small_encoder, text_rig

pytestmark = pytest.mark.integration
SEED = 6001
KILLS = 20
TEXTS_A_KILL = 150
FIRST = 1_500
FITTED_ON = 1_500
"""Texts of an encoder that these tests' catalogues do not outgrow."""


@pytest.fixture
def rig(database_url: str, tmp_path: Path) -> Iterator[TextRig]:
    with text_rig(database_url, tmp_path) as rig:
        yield rig


def test_twenty_kills_in_a_back_fill_leave_every_text_embedded_exactly_once(
    rig: TextRig, wait_until: WaitUntil
) -> None:
    chance, pause = random.Random(SEED), threading.Event()  # noqa: S311  # the same storm each time
    encoder = rig.put(small_encoder(FITTED_ON))
    rig.publish(range(texts := FIRST))
    embedders, seen = [rig.fork(batch=10) for _ in range(2)], 0
    for _ in range(KILLS):
        rig.publish(range(texts, texts := texts + TEXTS_A_KILL))
        seen = wait_until(partial(embedded, rig, seen), timeout=60, what="embedders go on after a kill")
        pause.wait(chance.uniform(0, 0.2))
        while rig.whole():  # a machine may embed faster than this one was expected to
            rig.publish(range(texts, texts := texts + TEXTS_A_KILL))
        victim = embedders.pop(chance.randrange(len(embedders)))
        victim.kill()
        victim.join()
        assert victim.exitcode == -signal.SIGKILL
        embedders.append(rig.fork(batch=10))

    rig.fork(batch=500)
    wait_until(rig.whole, timeout=60, what=f"every text is embedded after {KILLS} kills")

    assert rig.rows("SELECT encoder, count(*) FROM written GROUP BY encoder") == [(encoder, texts)]
    assert not rig.written_more_than_once()


def embedded(rig: TextRig, beyond: int) -> int:
    """Return how many vectors there are, 0 if they are not more than there were."""
    [(vectors,)] = rig.rows("SELECT count(*) FROM item_vectors")
    return int(vectors) if vectors > beyond else 0


@pytest.mark.parametrize("name", EMBEDDING)
def test_who_follows_an_embedder_killed_at_this_step_completes_it(rig: TextRig, name: str) -> None:
    rig.put(small_encoder(200))
    rig.publish(range(60))

    killed = rig.start("--batch", "20", failpoints=f"{name}=kill@2")

    assert killed.wait(timeout=240) == -signal.SIGKILL
    rig.command("embed", "--once")
    assert rig.whole()
    assert not rig.written_more_than_once()
    assert rig.rows("SELECT count(*) FROM written") == [(60,)]


def test_two_side_by_side_share_the_work_and_repeat_none_of_it(rig: TextRig) -> None:
    rig.put(small_encoder(FITTED_ON))
    rig.publish(range(3_000))
    rig.do("INSERT INTO embedding_queue (item_id) SELECT item_id FROM items")  # as if all had changed twice

    both = [rig.start("--batch", "20", "--once") for _ in range(2)]

    assert [process.wait(timeout=360) for process in both] == [0, 0]
    assert rig.whole()
    assert rig.rows("SELECT count(*), count(DISTINCT item_id) FROM written") == [(3_000, 3_000)]


def test_postgres_killed_in_the_midst_is_waited_for(tmp_path: Path, wait_until: WaitUntil) -> None:
    with own_services(kafka=False) as services:
        _outlive(services, tmp_path, wait_until)


def _outlive(services: Services, tmp_path: Path, wait_until: WaitUntil) -> None:
    settings, _ = services.new_settings()
    with text_rig(settings.database_url.get_secret_value(), tmp_path) as rig:
        rig.put(small_encoder(FITTED_ON))
        rig.publish(range(2_000))
        embedder = rig.start("--batch", "10")
        wait_until(lambda: rig.rows("SELECT FROM item_vectors LIMIT 1"), timeout=60, what="the embedder works")
        services.kill("postgres")
        services.start("postgres")
        rig.publish(range(2_000, 2_100))

        wait_until(rig.whole, timeout=60, what="every text is embedded after Postgres came back")

        assert embedder.poll() is None
        assert not rig.written_more_than_once()
