"""One feature definition: rows that were served come out of the training path again, float for float."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import SecretStr

from features.build.live_statistics import refresh_statistics
from features.build.snapshot import write_snapshot
from features.contracts.events import Event, Interaction
from features.contracts.profiles import Options, UserHistory
from features.contracts.statistics import DAY_US, NEVER_US, ItemStatistics
from features.kafka import BACKFILL
from features.settings import Settings
from features.store import Store
from serving.live_statistics import LiveStatistics
from tests.support.landing import Rig, interaction, recreate_topics
from tests.support.pools import connected_pool
from tests.support.trained import rated, train
from training.bundle.bundle import Bundle
from training.bundle.candidates import Candidates
from training.frames import load_interactions
from training.judging import in_items_of
from training.lists import groups

pytestmark = pytest.mark.integration

Rebuilt = tuple[Candidates, npt.NDArray[np.float32]]

USERS = [f"u{number}" for number in range(40)]


@pytest.fixture
def rig(database_url: str, kafka_bootstrap: str) -> Iterator[Rig]:
    """Yield a rig over a fresh database and fresh topics."""
    settings = Settings(database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap)
    recreate_topics(settings, partitions=2)
    rig = Rig(settings)
    yield rig
    rig.end()


def skewed(number: int, rng: np.random.Generator) -> Event:
    """Return a rating from a producer whose clock runs an hour ahead."""
    ahead = datetime.fromtimestamp(time.time() + 3_600, UTC).isoformat()
    plain = rated(number, rng)
    assert isinstance(plain, Interaction)
    fields = {"user_id": plain.user_id, "item_id": plain.item_id, "value": plain.value}
    return interaction(number, action="rating", occurred_at=ahead, **fields)


async def read(settings: Settings, bundle: Bundle) -> tuple[list[UserHistory], ItemStatistics]:
    """Return histories and statistics as the server reads them."""
    async with connected_pool(settings) as pool:
        store = Store(pool)
        live = LiveStatistics(bundle.items, bundle.statistics, bundle.parts.weights)
        live.apply(await store.item_statistics(NEVER_US))
        return [await store.history(user) for user in USERS], live.current


def replayed(bundle: Bundle, snapshot: Path, as_of_us: int, statistics_us: int) -> dict[str, Rebuilt]:
    """Return candidates and feature rows of all users at a past moment, by the code that builds training sets."""
    loaded = load_interactions(snapshot / "interactions", bundle.parts.weights)
    known = loaded.interactions.take(np.flatnonzero(loaded.interactions.known_us < as_of_us))
    history = in_items_of(known, bundle.items)
    users = history.users.index(USERS)
    found = {}
    for group in groups(history, users, np.full(len(users), as_of_us), bundle.manifest.history_limit):
        assert group.statistics.closed_at_us == statistics_us
        view = bundle.recommender.view(group.statistics)
        for row, user_id in enumerate(group.profiles.user_ids):
            found[user_id] = bundle.recommender.candidates(group.profiles, row, view, Options())
    return found


def test_served_rows_equal_rows_rebuilt_for_training(rig: Rig, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    events = [rated(number, rng) for number in range(3_000)]
    rig.produce(events[:2_900], headers=[BACKFILL])
    rig.land_all()
    bundle = train(rig.settings, tmp_path)
    rig.produce(events[2_900:])  # live: known only since they landed
    rig.produce([skewed(number, rng) for number in range(4_000, 4_040)])
    rig.land_all()
    refresh_statistics(rig.settings)

    histories, statistics = asyncio.run(read(rig.settings, bundle))
    as_of_us = time.time_ns() // 1000
    served = bundle.recommend(bundle.encode(histories), statistics, as_of_us, Options(), trace=True)

    # The world goes on: what came after the answer must not show in its replay.
    rig.produce([rated(number, rng) for number in range(3_000, 3_300)])
    rig.land_all()
    later = tmp_path / "later"
    later.mkdir()
    write_snapshot(rig.settings, later)
    rebuilt = replayed(bundle, later, as_of_us, statistics.closed_at_us)

    assert statistics.closed_at_us > as_of_us - DAY_US
    assert sum(len(trace.rows) for trace in served.traces) > 1_000
    for user_id, trace in zip(USERS, served.traces, strict=True):
        candidates, rows = rebuilt[user_id]
        np.testing.assert_array_equal(candidates.items, trace.candidates)
        np.testing.assert_array_equal(candidates.ranks, trace.ranks)
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, trace.rows)
