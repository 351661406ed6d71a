"""Records of served lists in a real Postgres: what is written is read, and who was erased is not written."""

import asyncio
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from features.admin.erasure import erase
from features.contracts.errors import MarqueeError
from features.db.connection import connect
from features.served import Considered, Origin, ServedList, ServedStore, find
from features.settings import Settings
from tests.support.pools import connected_pool

pytestmark = pytest.mark.integration

SECRET = "of a test"  # noqa: S105
T0_US = 1_767_225_600_000_000


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Return settings over a fresh database; no broker."""
    return Settings(
        database_url=SecretStr(database_url),
        kafka_bootstrap_servers="127.0.0.1:1",
        erasure_secret=SecretStr(SECRET),
    )


def a_list(number: int, user_id: str | None = "u1", **other: Any) -> ServedList:
    """Return a list that holds something of everything."""
    rng = np.random.default_rng(number)
    rows = rng.standard_normal((7, 3)).astype(np.float32)
    rows[0, 1] = np.nan
    considered = Considered(
        ordered_by="ranker",
        feature_names=["a", "b", "c"],
        source_names=["als", "popular"],
        item_ids=[f"i{place}" for place in range(7)],
        rows=rows,
        ranks=rng.standard_normal((7, 2)).astype(np.float32),
        scores=rng.standard_normal(7),
        unmet=np.arange(7) % 2 == 0,
    )
    origin = Origin("d" * 64, "s" * 64, T0_US + 5, T0_US, False, rng.random(21) < 0.5, None)  # noqa: FBT003  # a row
    plain = ServedList(
        recommendation_id=f"r{number}",
        user_id=user_id,
        served_at_us=T0_US + number,
        request={"k": 3, "history": [{"item_id": "ünï\u2028", "value": None}]},
        model_version="7",
        history_event_ids=["e2", "e1"],
        item_ids=["i3", "i1"],
        scores=[0.1, float(np.float32(0.1))],
        sources=["als", "filler"],
        reasons=["Because you liked Heat", "Popular with everyone"],
        degraded=True,
        fallback_reason="ranker_late",
        lacking=["ranker_late", "profile_late"],
        took_s={"profile": 0.001},
        origin=origin,
        considered=considered,
    )
    return replace(plain, **other)


async def added(settings: Settings, lists: Sequence[ServedList]) -> int:
    async with connected_pool(settings) as pool:
        return await ServedStore(pool, settings.erasure_secret.get_secret_value().encode()).add(lists)


def found(settings: Settings, recommendation_id: str) -> ServedList | None:
    with connect(settings, name="test") as connection:
        return find(connection, recommendation_id)


def assert_same(one: Any, other: Any) -> None:
    """Compare member by member, numbers bit for bit."""
    if is_dataclass(one):
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()
    else:
        assert one == other


def test_a_list_is_read_as_it_was_written(settings: Settings) -> None:
    without = a_list(2, None, origin=None, considered=None, model_version=None, fallback_reason=None)
    late = a_list(3, considered=None)
    unranked = a_list(4)
    assert unranked.considered is not None
    blend = replace(unranked.considered, ordered_by="blend", rows=np.empty((0, 3), np.float32))
    lists = [a_list(1), without, late, replace(unranked, considered=blend)]
    assert asyncio.run(added(settings, lists)) == 4
    for one in lists:
        assert_same(found(settings, one.recommendation_id), one)
    assert asyncio.run(added(settings, lists)) == 4  # again: the same
    assert found(settings, "never served") is None


def test_lists_of_an_erased_user_go_and_do_not_come_back(settings: Settings) -> None:
    asyncio.run(added(settings, [a_list(1, "gone"), a_list(2, "stays"), a_list(3, "gone"), a_list(4, None)]))
    with connect(settings, name="test") as connection:
        receipt = erase(settings, connection, "gone", datetime.now(UTC))
    assert receipt.rows["served_lists"] == 2
    assert asyncio.run(added(settings, [a_list(5, "gone"), a_list(6, "stays")])) == 1
    assert [found(settings, f"r{number}") is not None for number in range(1, 7)] == [
        *(False, True, False, True, False, True)
    ]
    for number, secret in enumerate(("", "of another database")):  # nobody can tell who was erased
        blind = settings.model_copy(update={"erasure_secret": SecretStr(secret)})
        assert asyncio.run(added(blind, [a_list(7, "gone"), a_list(8, "stays"), a_list(9 + number, None)])) == 1


def test_what_postgres_cannot_hold_is_refused_as_a_whole(settings: Settings) -> None:
    odd = a_list(1, request={"categories": ["\0"]})
    with pytest.raises(MarqueeError, match="keeping served lists"):
        asyncio.run(added(settings, [a_list(2), odd]))
    assert found(settings, "r2") is None
