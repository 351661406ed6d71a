"""Puts the parts of a server together from settings: the one place that knows which real parts there are."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from features.catalogue_store import CatalogueStore
from features.contracts.errors import UnavailableError
from features.db.connection import AsyncPool, open_pool
from features.embedding.encoders import load_encoder
from features.kafka import EventProducer, TopicError
from features.moves import Moves
from features.served import ServedStore
from features.settings import Settings
from features.store import Store
from features.text.encoder import Encoder
from features.text_store import TextStore
from serving.airflow import Airflow
from serving.answers import Answers
from serving.asks import Mixing
from serving.bundle_cache import BundleCache
from serving.bundle_loader import BundleLoader, check_in_child
from serving.bundle_slot import BundleSlot
from serving.clock import now_us
from serving.event_sink import ProducerSink
from serving.guard import Guard
from serving.impressions import Impressions
from serving.item_reading import ItemReader
from serving.keeper import Keeper, every
from serving.lister import Lister
from serving.live import Current
from serving.metrics import Metrics
from serving.models import KnownMoves, Models
from serving.moving import AliasMoves
from serving.notes import Notes, audit_of
from serving.onboarding import Choose, Onboarding
from serving.operators import Operators
from serving.parts import Parts
from serving.pipeline import Pipeline
from serving.posting import Poster
from serving.reach import LOOK_EVERY_S, Reach
from serving.recording import Records
from serving.similar import Similar
from serving.text_follower import LoadEncoder, TextFollower
from serving.text_search import Search
from serving.trainings import Trainings
from serving.turns import Turns
from serving.user_features import UserFeatures
from training.bundle.aliases import ServedAlias
from training.bundle.onboarding import onboarding_items
from training.bundle.read import open_bundle, verify_bundle
from training.bundle.registry import Registry

STORE_TIMEOUT_S: Final = 1.0
"""A history is read in a millisecond or two; a server that takes this long is ill."""
CATALOGUE_TIMEOUT_S: Final = 3.0
"""Counting a million items takes a second; whatever comes of it, histories are asked for as before."""
RECORDS_TIMEOUT_S: Final = 3.0
"""Records wait while a user is being erased; nobody waits for records."""
KAFKA_TIMEOUT_S: Final = 3.0
"""Longer than a leader's election on a healthy cluster, short enough to call a refusal quick."""
REGISTRY_TIMEOUT_S: Final = 5.0
"""Aliases, versions and their metrics are a few calls; MLflow answers each in a tenth of a second or less."""
REST_S: Final = 1.0
FLUSH_S: Final = 5.0
SEARCH_THREADS: Final = 2
"""A search looks at every text, and recommendations must not wait behind it."""


Writer = Impressions | Records | Notes
"""What writes after the answer, and is given some time to when the server ends."""


class _Threads:
    """Threads for what would hold up the event loop: of their own for each kind, so that none waits for another."""

    def __init__(self) -> None:
        self.explanations = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self.searches = ThreadPoolExecutor(SEARCH_THREADS, thread_name_prefix="search")
        self.registry = ThreadPoolExecutor(1, thread_name_prefix="registry")
        self.moves = ThreadPoolExecutor(1, thread_name_prefix="moves")
        self.noticing = ThreadPoolExecutor(1, thread_name_prefix="notice")
        self.history = ThreadPoolExecutor(1, thread_name_prefix="history")
        self.airflow = ThreadPoolExecutor(1, thread_name_prefix="airflow")
        self.audit = ThreadPoolExecutor(1, thread_name_prefix="audit")

    def end(self) -> None:
        """Wait for what they do."""
        for threads in vars(self).values():
            threads.shutdown()


@dataclass(frozen=True, slots=True)
class _Base:
    """What several parts share."""

    settings: Settings
    metrics: Metrics
    current: Current
    pool: AsyncPool
    store: Store
    store_guard: Guard
    sink: ProducerSink
    kafka_guard: Guard
    kafka: Reach
    operators: Operators
    threads: _Threads


def assemble(settings: Settings, metrics: Metrics) -> Parts:
    """Return the parts of a server; nothing is opened before `Parts.running` is entered."""
    current, pool = Current(), open_pool(settings)
    # What gathers between two loads is batch enough.
    sink = ProducerSink(EventProducer(settings, linger_ms=0))
    kafka = Reach(sink.ask)
    base = _Base(
        settings=settings,
        metrics=metrics,
        current=current,
        pool=pool,
        store=Store(pool),
        store_guard=Guard("Postgres", timeout_s=STORE_TIMEOUT_S, rest_s=REST_S),
        sink=sink,
        kafka_guard=_kafka_guard(kafka),
        kafka=kafka,
        operators=Operators(settings),
        threads=_Threads(),
    )
    follower = TextFollower(TextStore(pool), current.states, encoders_of(settings))
    keeper = Keeper(_slot(settings), base.store, follower, current, metrics)
    impressions, records = Impressions(sink, _kafka_guard(kafka), metrics), _records(base)
    moves, notes = _moves(base, keeper), Notes(audit_of(settings), base.threads.audit, metrics)
    threads, catalogue_guard = base.threads, Guard("Postgres", timeout_s=CATALOGUE_TIMEOUT_S, rest_s=REST_S)
    return Parts(
        model_name=settings.model_name,
        admin_token=settings.admin_token.get_secret_value(),
        store=base.store,
        store_guard=base.store_guard,
        kafka=kafka,
        current=current,
        keeper=keeper,
        pipeline=_pipeline(base, impressions, records),
        poster=Poster(base.sink, base.kafka_guard, metrics),
        operators=base.operators,
        notes=notes,
        reader=ItemReader(CatalogueStore(pool), catalogue_guard, current),
        search=Search(current, threads.searches, metrics, now_us),
        similar=Similar(current, threads.searches, now_us),
        onboarding=_onboarding(base),
        models=_models(base),
        moves=moves,
        trainings=Trainings(_airflow(settings), threads.airflow),
        users=_users(base),
        metrics=metrics,
        running=partial(_running, base, keeper, moves, (impressions, records, notes)),
    )


def _kafka_guard(kafka: Reach) -> Guard:
    return Guard("Kafka", timeout_s=KAFKA_TIMEOUT_S, rest_s=REST_S, failures=1, reach=kafka, answers=(TopicError,))


def _records(base: _Base) -> Records:
    served = ServedStore(base.pool, base.settings.erasure_secret.get_secret_value().encode())
    guard = Guard("Postgres", timeout_s=RECORDS_TIMEOUT_S, rest_s=REST_S, failures=1)
    return Records(served, guard, base.metrics, base.settings.record_share)


def _pipeline(base: _Base, impressions: Impressions, records: Records) -> Pipeline:
    settings = base.settings
    lister = Lister(
        store=base.store,
        guard=base.store_guard,
        current=base.current,
        turns=Turns(),
        explainer=base.threads.explanations,
        mixing=Mixing(settings.fresh_share, settings.fresh_draw, settings.diversity),
    )
    return Pipeline(
        lister=lister,
        answers=Answers(settings.answers_mb << 20, base.metrics),
        current=base.current,
        impressions=impressions,
        records=records,
        metrics=base.metrics,
        clock=now_us,
        deadline_s=settings.deadline_ms / 1000,
    )


def _onboarding(base: _Base) -> Onboarding:
    return Onboarding(
        store=base.store,
        guard=base.store_guard,
        current=base.current,
        executor=base.threads.searches,
        choose=cast("Choose", onboarding_items),  # every model that is served is a bundle
        clock=now_us,
    )


def _models(base: _Base) -> Models:
    guard = Guard("MLflow", timeout_s=REGISTRY_TIMEOUT_S, rest_s=REST_S)
    known = Guard("Postgres", timeout_s=CATALOGUE_TIMEOUT_S, rest_s=REST_S, failures=1)
    moves = KnownMoves(Moves(base.settings, _alias(base.settings)), known, base.threads.history)
    return Models(base.settings.model_name, _registry(base.settings), guard, base.threads.registry, moves)


def _moves(base: _Base, keeper: Keeper) -> AliasMoves:
    settings, alias = base.settings, _alias(base.settings)
    threads = base.threads
    return AliasMoves(Moves(settings, alias), alias, lambda: keeper.slot.pointed, threads.moves, threads.noticing)


def _alias(settings: Settings) -> ServedAlias:
    return ServedAlias(_registry(settings), settings.model_alias)


def _airflow(settings: Settings) -> Airflow | None:
    password = settings.airflow_password.get_secret_value()
    if not password:
        return None
    link = settings.airflow_link or settings.airflow_url
    return Airflow(str(settings.airflow_url), str(link), settings.airflow_username, password)


def _users(base: _Base) -> UserFeatures:
    return UserFeatures(
        store=base.store,
        guard=base.store_guard,
        current=base.current,
        sink=base.sink,
        kafka_guard=base.kafka_guard,
        operators=base.operators,
        executor=base.threads.searches,
        clock=now_us,
    )


@asynccontextmanager
async def _running(base: _Base, keeper: Keeper, moves: AliasMoves, writers: Sequence[Writer]) -> AsyncIterator[None]:
    """Run a server's loops, and end all that it holds open when they are to end, whatever becomes of each."""
    async with AsyncExitStack() as ending:  # the last one first
        ending.callback(base.operators.close)
        ending.callback(base.threads.end)
        ending.push_async_callback(base.pool.close)
        ending.push_async_callback(base.sink.close)
        await base.pool.open()
        await keeper.resume()
        ending.push_async_callback(_flush, writers)
        loops = [each.run() for each in (keeper, moves, *writers)]
        tasks = [asyncio.create_task(loop) for loop in (*loops, every(LOOK_EVERY_S, "kafka", base.kafka.look))]
        ending.push_async_callback(_cancel, tasks)
        yield


def _registry(settings: Settings) -> Registry:
    return Registry(str(settings.mlflow_tracking_uri), settings.model_name)


def _slot(settings: Settings) -> BundleSlot:
    registry = _registry(settings)
    cache = BundleCache(settings.cache_dir)
    loader = BundleLoader(
        registry, cache, verify=verify_bundle, check=check_in_child, open_bundle=open_bundle, clock=now_us
    )
    return BundleSlot(registry, settings.model_alias, loader, cache, now_us)


def encoders_of(settings: Settings) -> LoadEncoder:
    """Return what gives encoders by digest, kept beside the bundles, where embedders of this machine keep them too."""
    folder = settings.cache_dir / "encoders"

    def load(digest: str) -> Encoder:
        try:
            return load_encoder(settings, digest, folder)
        except OSError as error:  # lists need no encoder: a version serves without, and it is tried again
            raise UnavailableError(
                f"encoder {digest}: cannot be kept in {folder}: {error}. Make it writable, with room for the encoder."
            ) from error

    return load


async def _flush(writers: Sequence[Writer]) -> None:
    """Let each write what still waits, as far as there is time; what fails in one is raised after all of them."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FLUSH_S):
            for failure in await asyncio.gather(*(writer.flush() for writer in writers), return_exceptions=True):
                if failure is not None:
                    raise failure


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
