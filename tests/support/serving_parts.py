"""The app over parts that a test holds in its hand: a store and a sink in memory, a real small bundle."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import numpy as np
import numpy.typing as npt
from fastapi import FastAPI
from pydantic import SecretStr

from features.audit import AuditEvent, Deed
from features.contracts.errors import UnavailableError
from features.contracts.events import Event, decode_event
from features.contracts.profiles import UserHistory
from features.contracts.statistics import NEVER_US, ItemStatistics, StatisticsRows, StatisticsState
from features.kafka_bulk import Message
from features.moves import Moves
from features.served import ServedList
from features.settings import Settings
from features.store import ItemState
from features.text.documents import Document
from features.text.encoder import Encoder
from serving.answers import Answers
from serving.app import create_app
from serving.bundle_cache import BundleCache
from serving.bundle_loader import BundleLoader
from serving.bundle_slot import BundleSlot
from serving.clock import now_us
from serving.guard import Guard
from serving.impressions import Impressions
from serving.item_reading import ItemReader
from serving.item_states import Mask
from serving.keeper import Keeper
from serving.lister import Lister
from serving.live import Current
from serving.metrics import Metrics
from serving.models import KnownMoves, Models
from serving.moving import AliasMoves
from serving.notes import Notes, Write
from serving.onboarding import Onboarding
from serving.operators import Operators
from serving.parts import Parts
from serving.pipeline import Pipeline
from serving.posting import Poster
from serving.reach import Reach
from serving.recording import Records
from serving.seams import Model
from serving.similar import Similar
from serving.text_follower import TextFollower
from serving.text_search import Search
from serving.trainings import Trainer, Trainings
from serving.turns import Turns
from serving.user_features import UserFeatures
from tests.support.serving_texts import MemoryCatalogue, MemoryTexts, encoder_of, state_of
from tests.support.synthetic import trained_on_texts
from tests.support.tiny_bundle import write_tiny_bundle
from training.bundle.aliases import ServedAlias
from training.bundle.read import open_bundle, verify_bundle
from training.bundle.versions import NotThereError, RegisteredVersion
from training.bundle.write import write_bundle

if TYPE_CHECKING:
    from training.bundle.registry import Registry

NOWHERE = Settings(
    database_url=SecretStr("postgresql://nobody:x@127.0.0.1:1/nothing"), kafka_bootstrap_servers="127.0.0.1:1"
)
PATIENT_S = 60.0
"""Deadline of apps in tests: what is left out on a busy machine would be another list."""
TOKEN = "let-me-in"  # noqa: S105  # of apps that live for one test


@dataclass
class MemoryStore:
    """Histories and item states in memory, a switch that takes them away, and an event that histories wait for."""

    histories: dict[str, UserHistory] = field(default_factory=dict)
    states: list[ItemState] = field(default_factory=list)
    popular: list[str] = field(default_factory=list)
    weights: dict[str, object] = field(default_factory=dict)
    told: list[Mapping[str, object]] = field(default_factory=list)
    away: bool = False
    held: asyncio.Event | None = None
    compared: int = 0

    def _check(self) -> None:
        if self.away:
            raise UnavailableError("Postgres is away")

    async def history(self, user_id: str, limit: int) -> UserHistory:
        """Return a user's history."""
        self._check()
        assert limit > 0
        if self.held is not None:
            await self.held.wait()
        return self.histories.get(user_id, UserHistory(user_id))

    async def history_digests(self, user_ids: Sequence[str], limit: int) -> dict[str, int | None]:
        """Return the digests of some users' histories."""
        self._check()
        assert limit > 0
        self.compared += 1
        return {user_id: self.histories.get(user_id, UserHistory(user_id)).digest for user_id in user_ids}

    async def item_states(self, changed_after: datetime | None) -> list[ItemState]:
        """Return all states, whatever is asked for."""
        self._check()
        del changed_after
        return self.states

    async def item_statistics(self, after_us: int) -> StatisticsRows:
        """Return no row, as before the first refresh; `weights` are of whatever has been set."""
        self._check()
        del after_us
        return StatisticsRows([], StatisticsState.empty(0), NEVER_US, self.weights)

    async def tell_weights(self, weights: Mapping[str, object]) -> None:
        """Keep what is told."""
        self._check()
        self.told.append(weights)

    async def popular_items(self, limit: int) -> list[str]:
        """Return popular items."""
        self._check()
        return self.popular[:limit]

    async def ping(self) -> None:
        """Return if it is there."""
        self._check()


@dataclass
class MemorySink:
    """Events in memory, a switch that takes Kafka away, and words of what it lacks."""

    events: list[Event] = field(default_factory=list)
    away: bool = False
    lacks: list[str] = field(default_factory=list)

    async def send(self, messages: Sequence[Message]) -> None:
        """Keep events."""
        if self.away:
            raise UnavailableError("Kafka is away")
        self.events.extend(decode_event(message.value) for message in messages)

    async def ask(self) -> list[str]:
        """Return what it lacks, if it is there."""
        if self.away:
            raise UnavailableError("Kafka is away")
        return self.lacks


@dataclass
class MemoryServed:
    """Served lists in memory, a switch that takes Postgres away, and an event that tells of the first list."""

    lists: list[ServedList] = field(default_factory=list)
    away: bool = False
    kept: asyncio.Event = field(default_factory=asyncio.Event)

    async def add(self, lists: Sequence[ServedList]) -> int:
        """Keep lists."""
        if self.away:
            raise UnavailableError("Postgres is away")
        self.lists.extend(lists)
        self.kept.set()
        return len(lists)


@dataclass
class MemoryAudit:
    """Entries of the audit in memory, and a switch that takes Postgres away."""

    deeds: list[Deed] = field(default_factory=list)
    away: bool = False

    @contextmanager
    def open(self) -> Iterator[Write]:
        """Yield what adds an entry."""
        if self.away:
            raise UnavailableError("Postgres is away")
        yield self.deeds.append


@dataclass
class OneVersion:
    """A registry of at most one version, and a switch that takes away what people read of it."""

    folder: Path
    registered: RegisteredVersion | None = None
    away: bool = False
    model_name: str = "marquee"

    def publish(self, seed: int = 0) -> None:
        """Write a tiny bundle and register it as version 1."""
        self.registered = RegisteredVersion("1", write_tiny_bundle(self.folder, seed), "run-1", {"gate": "promote"})

    def versions(self) -> list[RegisteredVersion]:
        """Return the version, if there is one."""
        if self.away:
            raise UnavailableError("MLflow is away")
        return [] if self.registered is None else [self.registered]

    def version(self, version: str) -> RegisteredVersion:
        """Return the version."""
        for found in self.versions():
            if found.version == version:
                return found
        raise NotThereError(f"no version {version}")

    def aliases(self) -> dict[str, str]:
        """Return where the alias points."""
        return dict.fromkeys(["champion"], "1") if self.versions() else {}

    def set_alias(self, alias: str, version: str) -> None:
        """Move nothing: there is one version."""
        assert (alias, version) == ("champion", "1")

    def metrics(self, run_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return a metric of each run."""
        return {run_id: {"ndcg_at_10": 0.25, "unknown": float("nan")} for run_id in run_ids}

    def publish_trained(self) -> None:
        """Write a bundle with rankers of known and of new items and register it as version 1."""
        how: dict[str, Any] = {"created_at": datetime.now(UTC), "code_version": "test", "seed": 0}
        self.registered = RegisteredVersion("1", write_bundle(self.folder, trained_on_texts()[1], **how), "run-1")

    def by_alias(self, alias: str) -> RegisteredVersion | None:
        """Return the version."""
        assert alias == "champion"
        return self.registered

    def download(self, version: str, folder: Path) -> Path:
        """Return a copy of the files."""
        assert version == "1"
        copy = folder / "bundle"
        copy.mkdir()
        for file in self.folder.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        return copy


class MemoryMoves:
    """The history of the alias in memory; Postgres may be taken away."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.away = False

    def history(self, at_most: int) -> list[AuditEvent]:
        """Return the latest moves, newest first."""
        if self.away:
            raise UnavailableError("Postgres is away")
        return self.events[:at_most]


@dataclass
class Bench:
    """The parts of an app, and what they stand on."""

    parts: Parts
    store: MemoryStore
    sink: MemorySink
    registry: OneVersion
    impressions: Impressions
    served: MemoryServed
    records: Records
    turns: Turns
    texts: MemoryTexts
    catalogue: MemoryCatalogue
    encoders: dict[str, Encoder]
    moves: MemoryMoves
    audit: MemoryAudit

    @cached_property
    def app(self) -> FastAPI:
        """Return the app, made once."""
        return create_app(self.parts)

    def know_texts(self, documents: Mapping[str, Document], seed: int = 0) -> Encoder:
        """Embed texts by an encoder, which is the newest from now on, and return it."""
        encoder = encoder_of(seed)
        self.encoders[encoder.digest] = encoder
        self.texts.newest = encoder.digest
        self.texts.embed(encoder, documents)
        self.store.states = [state_of(item_id, document) for item_id, document in documents.items()]
        return encoder

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """Yield a client of the app; the version that is published is loaded first."""
        await self.parts.keeper.look()
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            notes = asyncio.create_task(self.parts.notes.run())
            yield client
            notes.cancel()


@asynccontextmanager
async def _nothing_to_open() -> AsyncIterator[None]:
    yield


def _trusting(path: Path, digest: str) -> None:
    """Check nothing: what the child process finds is tested with the real one."""
    del path, digest


def _first_items(model: Model, statistics: ItemStatistics, k: int, eligible: Mask) -> npt.NDArray[np.int32]:
    """Return the first rows that may be shown: how they are chosen is tested with the bundle."""
    assert len(model.items) == len(statistics.count) == len(eligible)
    return np.flatnonzero(eligible)[:k].astype(np.int32)


@contextmanager
def bench(
    folder: Path,
    open_model: Callable[[Path, str], Model] = open_bundle,
    *,
    record_share: float = 0.0,
    trainer: Trainer | None = None,
) -> Iterator[Bench]:
    """Yield the parts of an app in a folder of its own."""
    store, sink, registry = MemoryStore(), MemorySink(), OneVersion(folder / "registry")
    texts, catalogue, encoders = MemoryTexts(), MemoryCatalogue(), dict[str, Encoder]()
    metrics, current, cache = Metrics(), Current(), BundleCache(folder / "cache")
    loader = BundleLoader(registry, cache, verify=verify_bundle, check=_trusting, open_bundle=open_model, clock=now_us)
    slot = BundleSlot(registry, "champion", loader, cache, now_us)

    def load(digest: str) -> Encoder:
        if digest not in encoders:
            raise UnavailableError(f"encoder {digest}: not here")
        return encoders[digest]

    keeper = Keeper(slot, store, TextFollower(texts, current.states, load), current, metrics)
    # No rest: what a test switches back on is asked again at once.
    store_guard, kafka = Guard("Postgres", timeout_s=5, rest_s=0), Reach(sink.ask)
    kafka_guard = Guard("Kafka", timeout_s=5, rest_s=0, reach=kafka)
    impressions = Impressions(sink, kafka_guard, metrics, limit=3)
    served = MemoryServed()
    records = Records(served, Guard("Postgres", timeout_s=5, rest_s=0), metrics, record_share, limit=3)
    running: AbstractAsyncContextManager[None] = _nothing_to_open()
    moves, audit = MemoryMoves(), MemoryAudit()
    turns = Turns()
    operators, alias = Operators(NOWHERE), ServedAlias(cast("Registry", registry), "champion")
    with ThreadPoolExecutor(1) as executor:
        lister = Lister(store=store, guard=store_guard, current=current, turns=turns, explainer=executor)
        pipeline = Pipeline(
            lister=lister,
            answers=Answers(1 << 20, metrics),
            current=current,
            impressions=impressions,
            records=records,
            metrics=metrics,
            clock=now_us,
            deadline_s=PATIENT_S,
        )
        known_moves = KnownMoves(moves, Guard("Postgres", timeout_s=5, rest_s=0), executor)
        parts = Parts(
            model_name="marquee",
            admin_token=TOKEN,
            store=store,
            store_guard=store_guard,
            kafka=kafka,
            current=current,
            keeper=keeper,
            pipeline=pipeline,
            poster=Poster(sink, kafka_guard, metrics),
            operators=operators,
            notes=Notes(audit.open, executor, metrics, limit=3),
            reader=ItemReader(catalogue, store_guard, current),
            search=Search(current, executor, metrics, now_us),
            similar=Similar(current, executor, now_us),
            onboarding=Onboarding(
                store=store, guard=store_guard, current=current, executor=executor, choose=_first_items, clock=now_us
            ),
            models=Models("marquee", registry, Guard("MLflow", timeout_s=5, rest_s=0), executor, known_moves),
            moves=AliasMoves(Moves(NOWHERE, alias), alias, lambda: slot.pointed, executor, executor),
            trainings=Trainings(trainer, executor),
            users=UserFeatures(
                store=store,
                guard=store_guard,
                current=current,
                sink=sink,
                kafka_guard=kafka_guard,
                operators=operators,
                executor=executor,
                clock=now_us,
            ),
            metrics=metrics,
            running=lambda: running,
        )
        yield Bench(
            parts, store, sink, registry, impressions, served, records, turns, texts, catalogue, encoders, moves, audit
        )
