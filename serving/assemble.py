"""Puts the parts of a server together from settings: the one place that knows which real parts there are."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Final

from features.db.connection import open_pool
from features.kafka import EventProducer
from features.settings import Settings
from features.store import Store
from serving.bundle_cache import BundleCache
from serving.bundle_loader import BundleLoader, check_in_child
from serving.bundle_slot import BundleSlot
from serving.clock import now_us
from serving.event_sink import ProducerSink
from serving.guard import Guard
from serving.impressions import Impressions
from serving.keeper import Keeper
from serving.live import Current
from serving.metrics import Metrics
from serving.operators import Operators
from serving.parts import Parts
from serving.pipeline import Pipeline
from serving.posting import Poster
from serving.similar import Similar
from training.bundle.read import open_bundle, verify_bundle
from training.bundle.registry import Registry

STORE_TIMEOUT_S: Final = 1.0
"""A history is read in a millisecond or two; a server that takes this long is ill."""
KAFKA_TIMEOUT_S: Final = 3.0
"""Longer than a leader's election on a healthy cluster, short enough to call a refusal quick."""
REST_S: Final = 1.0
FLUSH_S: Final = 5.0
RECOMMEND_THREADS: Final = 2


def assemble(settings: Settings) -> Parts:
    """Return the parts of a server; nothing is opened before `Parts.running` is entered."""
    metrics, current = Metrics(), Current()
    pool = open_pool(settings)
    store, store_guard = Store(pool), Guard("Postgres", timeout_s=STORE_TIMEOUT_S, rest_s=REST_S)
    # What gathers between two loads is batch enough.
    sink = ProducerSink(EventProducer(settings, linger_ms=0))
    kafka_guard = Guard("Kafka", timeout_s=KAFKA_TIMEOUT_S, rest_s=REST_S, failures=1)
    impressions_guard = Guard("Kafka", timeout_s=KAFKA_TIMEOUT_S, rest_s=REST_S, failures=1)
    impressions = Impressions(sink, impressions_guard, metrics)
    executor = ThreadPoolExecutor(RECOMMEND_THREADS, thread_name_prefix="recommend")
    operators = Operators(settings)
    keeper = Keeper(_slot(settings), store, current, metrics)

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        await pool.open()
        await keeper.resume()
        tasks = [asyncio.create_task(keeper.run()), asyncio.create_task(impressions.run())]
        try:
            yield
        finally:
            await _cancel(tasks)
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await impressions.flush()
            await sink.close()
            await pool.close()
            executor.shutdown()
            operators.close()

    return Parts(
        model_name=settings.model_name,
        admin_token=settings.admin_token.get_secret_value(),
        store=store,
        store_guard=store_guard,
        kafka_guard=kafka_guard,
        current=current,
        keeper=keeper,
        pipeline=Pipeline(
            store=store,
            guard=store_guard,
            current=current,
            impressions=impressions,
            metrics=metrics,
            executor=executor,
            clock=now_us,
        ),
        poster=Poster(sink, kafka_guard, metrics),
        operators=operators,
        similar=Similar(current, executor, now_us),
        metrics=metrics,
        running=running,
    )


def _slot(settings: Settings) -> BundleSlot:
    registry = Registry(str(settings.mlflow_tracking_uri), settings.model_name)
    cache = BundleCache(settings.cache_dir)
    loader = BundleLoader(registry, cache, verify=verify_bundle, check=check_in_child, open_bundle=open_bundle)
    return BundleSlot(registry, settings.model_alias, loader, cache, now_us)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
