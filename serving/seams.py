"""What serving needs of its neighbours, as narrow protocols: the real parts fit them, and so do a test's own."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from features.contracts.ids import IdMap
from features.contracts.profiles import Options, Profiles, UserHistory
from features.contracts.spec import FeatureSpec
from features.contracts.statistics import ItemStatistics
from features.kafka_bulk import Message
from features.store import ItemState, StatisticsRows
from training.bundle.manifest import Manifest
from training.bundle.registry import RegisteredVersion
from training.bundle.result import Recommendations


class Model(Protocol):
    """An open bundle: `training.bundle.bundle.Bundle` as far as serving uses it."""

    @property
    def path(self) -> Path:
        """Return the folder of its files."""
        ...

    @property
    def digest(self) -> str:
        """Return the SHA-256 of its manifest."""
        ...

    @property
    def manifest(self) -> Manifest:
        """Return what the bundle says of itself."""
        ...

    @property
    def items(self) -> IdMap:
        """Return the catalogue's ids."""
        ...

    @property
    def source_names(self) -> Sequence[str]:
        """Return the names of the candidate sources."""
        ...

    @property
    def statistics(self) -> ItemStatistics:
        """Return its own copy of the item statistics."""
        ...

    @property
    def spec(self) -> FeatureSpec:
        """Return the ranker's columns."""
        ...

    def encode(self, histories: Sequence[UserHistory]) -> Profiles:
        """Return histories as arrays over the bundle's internal indices."""
        ...

    def recommend(
        self,
        profiles: Profiles,
        statistics: ItemStatistics,
        as_of_us: int,
        options: Options,
        *,
        trace: bool = False,
    ) -> Recommendations:
        """Return the ranked lists of a batch of users."""
        ...

    def similar(
        self, item: int, k: int, eligible: npt.NDArray[np.bool_] | None = None
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return the items most like one, best first, and their scores."""
        ...


class Store(Protocol):
    """The typed readers of Postgres; each raises `UnavailableError` when it is away."""

    async def history(self, user_id: str, limit: int) -> UserHistory:
        """Return a user's latest interactions and all items seen."""
        ...

    async def item_states(self, changed_after: datetime | None) -> list[ItemState]:
        """Return the states of items that changed after a moment; None = of all items."""
        ...

    async def item_statistics(self, after_us: int) -> StatisticsRows:
        """Return the newest row per item that closed after a moment, microseconds since 1970 UTC."""
        ...

    async def popular_items(self, limit: int) -> list[str]:
        """Return external ids of the most popular items, best first."""
        ...

    async def ping(self) -> None:
        """Return when Postgres answers."""
        ...


class VersionSource(Protocol):
    """The model registry, as far as a server reads it; blocking, raises `UnavailableError` when it is away."""

    def by_alias(self, alias: str) -> RegisteredVersion | None:
        """Return the version that an alias points to."""
        ...

    def download(self, version: str, folder: Path) -> Path:
        """Return the folder that holds the files of a version, not yet verified."""
        ...


class EventSink(Protocol):
    """The producer of events; `UnavailableError` when Kafka does not take them."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Return once every message is acknowledged by all in-sync replicas."""
        ...
