"""What serving needs of its neighbours, as narrow protocols: the real parts fit them, and so do a test's own."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from features.catalogue_store import ItemCounts, ItemRow
from features.contracts.ids import IdMap
from features.contracts.profiles import Options, Profiles, UserHistory
from features.contracts.spec import FeatureSpec
from features.contracts.statistics import ItemStatistics, StatisticsRows
from features.kafka_bulk import Message
from features.store import ItemState
from features.text.search import TextIndex
from features.text_store import Place, TextRows
from training.bundle.arrivals import Arrivals
from training.bundle.laps import Lap, unhurried
from training.bundle.manifest import Manifest
from training.bundle.result import Recommendations
from training.bundle.versions import RegisteredVersion

By = Literal["behaviour", "content"]
"""What makes items alike: who likes them, or their texts."""


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
        lap: Lap = unhurried,
    ) -> Recommendations:
        """Return the ranked lists of a batch of users."""
        ...

    def popular(self, profiles: Profiles, statistics: ItemStatistics, options: Options) -> Recommendations:
        """Return what is popular with everyone and may come back."""
        ...

    def trending(self, profiles: Profiles, statistics: ItemStatistics, options: Options) -> Recommendations:
        """Return what trends with everyone and may come back."""
        ...

    @property
    def excludes_seen(self) -> bool:
        """Return whether items that a user already had stay away where a request does not say."""
        ...

    def similar(
        self,
        item: int,
        k: int,
        eligible: npt.NDArray[np.bool_] | None = None,
        by: By = "behaviour",
        *,
        soon: bool = False,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return the items most like one by behaviour or by content, best first, and their scores."""
        ...

    def in_categories(self, names: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Return which items were in at least one of some categories when it was made."""
        ...

    def allowed(self, profiles: Profiles, options: Options) -> npt.NDArray[np.bool_]:
        """Return which items may come back for the first user of a batch."""
        ...

    def user_features(
        self, profiles: Profiles, statistics: ItemStatistics
    ) -> tuple[npt.NDArray[np.float32], dict[str, float]]:
        """Return the user's own columns of the first user of a batch, and the share of liking by category."""
        ...

    def contributions(self, rows: npt.NDArray[np.float32], *, unmet: bool) -> npt.NDArray[np.float64] | None:
        """Return what each feature adds to each row's score, and the base; None where no ranker scores such rows."""
        ...

    @property
    def encoder(self) -> str | None:
        """Return the digest of the encoder of its content vectors, None where it has none."""
        ...

    @property
    def text_index(self) -> TextIndex | None:
        """Return the search index over its items' texts, row by row."""
        ...

    @property
    def text_until_us(self) -> int:
        """Return until when texts were embedded that are in it, microseconds since 1970 UTC."""
        ...

    @property
    def arrived(self) -> Sequence[str]:
        """Return what identifies the first one, two, ... of the items that came after its own, and all they are."""
        ...

    def grown(self, arrivals: Arrivals) -> "Model":
        """Return the same bundle with some items more, after its own."""
        ...

    def with_first(self, n_arrivals: int) -> "Model":
        """Return the same bundle as it was when only the first so many items had come after its own."""
        ...


class Store(Protocol):
    """The typed readers of Postgres; each raises `UnavailableError` when it is away."""

    async def history(self, user_id: str, limit: int) -> UserHistory:
        """Return a user's latest interactions and all items seen."""
        ...

    async def history_digests(self, user_ids: Sequence[str], limit: int) -> Mapping[str, int | None]:
        """Return what tells whether users' histories are what they were."""
        ...

    async def item_states(self, changed_after: datetime | None) -> list[ItemState]:
        """Return the states of items that changed after a moment; None = of all items."""
        ...

    async def item_statistics(self, after_us: int) -> StatisticsRows:
        """Return the newest row per item that closed after a moment, microseconds since 1970 UTC."""
        ...

    async def tell_weights(self, weights: Mapping[str, object]) -> None:
        """Say by which action weights what is served was trained; live statistics go by them."""
        ...

    async def popular_items(self, limit: int) -> list[str]:
        """Return external ids of the most popular items, best first."""
        ...

    async def ping(self) -> None:
        """Return when Postgres answers."""
        ...


class TextSource(Protocol):
    """The typed readers of texts; each raises `UnavailableError` when Postgres is away."""

    async def newest_encoder(self) -> str | None:
        """Return the newest encoder whose vectors are complete."""
        ...

    async def keys(self, encoder: str, since: datetime) -> dict[str, int]:
        """Return which items' texts were embedded at or after an instant, and when."""
        ...

    async def ids(self, encoder: str, after_id: str, at_most: int) -> list[str]:
        """Return the items that follow one, of those whose texts were embedded, in the order of their ids."""
        ...

    async def rows(self, encoder: str, item_ids: Sequence[str]) -> TextRows:
        """Return the texts of some items."""
        ...

    async def page(self, encoder: str, after: Place, at_most: int) -> TextRows:
        """Return the texts that follow a place, in the order in which they were embedded."""
        ...


class CatalogueSource(Protocol):
    """The typed readers of items as clients see them; each raises `UnavailableError` when Postgres is away."""

    async def item(self, item_id: str, encoder: str | None) -> ItemRow | None:
        """Return an item."""
        ...

    async def items(
        self,
        before: tuple[datetime, str],
        *,
        at_most: int,
        category: str | None,
        all_items: bool,
        encoder: str | None,
        text_chars: int,
    ) -> list[ItemRow]:
        """Return a page of items, newest first."""
        ...

    async def counts(self, encoder: str | None) -> ItemCounts:
        """Return how many items there are, and how many are embedded."""
        ...


class VersionSource(Protocol):
    """The model registry, as far as a server reads it; blocking, raises `UnavailableError` when it is away."""

    def by_alias(self, alias: str) -> RegisteredVersion | None:
        """Return the version that an alias points to."""
        ...

    def download(self, version: str, folder: Path) -> Path:
        """Return the folder that holds the files of a version, not yet verified."""
        ...


class Versions(Protocol):
    """The model registry, as far as people read it; blocking, raises `UnavailableError` when it is away."""

    def versions(self) -> list[RegisteredVersion]:
        """Return all versions, newest first."""
        ...

    def version(self, version: str) -> RegisteredVersion:
        """Return one version, or raise `NotThereError`."""
        ...

    def aliases(self) -> dict[str, str]:
        """Return the version that each alias points to."""
        ...

    def metrics(self, run_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return the metrics of some runs, by run."""
        ...


class EventSink(Protocol):
    """The producer of events; `UnavailableError` when Kafka does not take them."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Return once every message is acknowledged by all in-sync replicas."""
        ...
