"""Statistics of a new bucket serve once the model is warm with them: no list waits for the first look at all items."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from features.contracts.errors import UnavailableError
from features.contracts.profiles import Options
from features.contracts.statistics import BUCKET_US, StatisticsRows, StatisticsState
from features.contracts.weights import ActionWeights
from serving.live import LiveModel, warm
from tests.support.serving_parts import Bench, bench
from tests.support.statistic_events import liked
from tests.support.tiny_bundle import CLOSED_AT_US
from training.bundle.bundle import Bundle

if TYPE_CHECKING:
    from serving.texts import Texts

NEW_US = CLOSED_AT_US + BUCKET_US


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app that serves a version."""
    with bench(tmp_path) as parts:
        parts.registry.publish()
        yield parts


class Warming:
    """A bucket that closes in the store, and a model that is held up while a thread warms it.

    Attributes
    ----------
    edges
        Of the statistics that lists on the event loop were made from.
    """

    def __init__(self, served: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.edges: list[int] = []
        self._served = served
        self._begun, self._go_on = threading.Event(), threading.Event()
        monkeypatch.setattr(served.store, "item_statistics", _newer)
        monkeypatch.setattr(Bundle, "recommend", self._watched(Bundle.recommend))

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Let the keeper take in the new bucket; inside, the model is being warmed."""
        refreshed = asyncio.create_task(self._served.parts.keeper.refresh_statistics())
        try:
            assert await asyncio.to_thread(self._begun.wait, 60.0)
            yield
        finally:
            self._go_on.set()
        await refreshed

    def _watched(self, recommend: Callable[..., Any]) -> Callable[..., Any]:
        def watched(bundle: Bundle, profiles: Any, statistics: Any, *others: Any, **more: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                self.edges.append(statistics.closed_at_us)
            else:
                self._begun.set()
                assert self._go_on.wait(60.0)
            return recommend(bundle, profiles, statistics, *others, **more)

        return watched


async def _newer(after_us: int) -> StatisticsRows:
    del after_us
    state = StatisticsState.empty(1)
    state.add(liked([0], NEW_US), BUCKET_US)
    return StatisticsRows(["i1"], state, NEW_US, ActionWeights().to_json())


def live_of(served: Bench) -> LiveModel:
    live = served.parts.current.live
    assert live is not None
    return live


async def ask(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/recommend/u")).status_code == 200


def test_lists_go_by_the_old_bucket_until_the_model_is_warm_with_the_new_one(
    served: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use() -> list[int]:
        async with served.client() as client:
            warming = Warming(served, monkeypatch)
            async with warming.under_way():
                await ask(client)
                assert live_of(served).statistics.current.closed_at_us == CLOSED_AT_US
            await ask(client)
            assert live_of(served).statistics.current.closed_at_us == NEW_US
            return warming.edges

    assert asyncio.run(use()) == [CLOSED_AT_US, NEW_US]


def test_what_is_read_of_texts_while_the_model_is_warmed_is_kept(
    served: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use() -> None:
        async with served.client():
            before, texts = live_of(served), cast("Texts", object())
            async with Warming(served, monkeypatch).under_way():
                served.parts.current.live = replace(before, texts=texts)
            after = live_of(served)
            assert (after.texts, after.model, after.items, after.kept) == (
                texts,
                before.model,
                before.items,
                before.kept,
            )
            assert after.statistics.current.closed_at_us == NEW_US

    asyncio.run(use())


def test_a_warm_model_has_made_a_varied_list_and_one_of_a_single_candidate(
    served: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Options] = []
    recommend = Bundle.recommend

    def noted(bundle: Bundle, profiles: Any, statistics: Any, as_of_us: Any, options: Options, **more: Any) -> Any:
        asked.append(options)
        return recommend(bundle, profiles, statistics, as_of_us, options, **more)

    async def use() -> None:
        async with served.client():
            monkeypatch.setattr(Bundle, "recommend", noted)
            warm(live_of(served))

    asyncio.run(use())
    assert any(options.diversity for options in asked)
    assert any(options.candidates is not None and len(options.candidates) == 1 for options in asked)


def test_the_edge_of_the_statistics_is_told_from_the_first_version_on(served: Bench) -> None:
    async def use() -> list[str]:
        async with served.client() as client:
            return (await client.get("/metrics")).text.splitlines()

    [edge] = [line for line in asyncio.run(use()) if line.startswith("marquee_statistics_closed_at_seconds ")]
    assert float(edge.split()[1]) == CLOSED_AT_US / 1e6


def test_a_server_tells_once_of_each_version_by_which_weights_it_was_trained(served: Bench) -> None:
    async def serve() -> None:
        keeper = served.parts.keeper
        await keeper.look()
        served.store.away = True
        with pytest.raises(UnavailableError):
            await keeper.refresh_statistics()
        served.store.away = False
        for _ in range(2):
            await keeper.refresh_statistics()
        assert served.store.told == [ActionWeights().to_json()]
        served.registry.folder = served.registry.folder.with_name("second")
        served.registry.publish(seed=2)
        await keeper.look()
        await keeper.refresh_statistics()

    asyncio.run(serve())
    assert len(served.store.told) == 2
