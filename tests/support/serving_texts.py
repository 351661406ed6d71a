"""Texts in memory as a server reads them of Postgres, encoders fitted on a few of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from features.catalogue_store import ItemCounts, ItemRow
from features.contracts.errors import UnavailableError
from features.contracts.times import to_us
from features.store import ItemState
from features.text.documents import Document
from features.text.encoder import Encoder
from features.text.search import TextIndex
from features.text.svd import fit_svd
from features.text_store import Place, TextRows
from training.bundle.bundle import Bundle
from training.bundle.content import Content, mapped, usual_of
from training.bundle.read import open_bundle

T0 = datetime(2026, 1, 1, tzinfo=UTC)
KINDS: Mapping[str, Sequence[str]] = {
    "sea": ("whale", "ship", "harbour", "storm", "captain", "island", "sailor", "wave"),
    "law": ("judge", "court", "verdict", "witness", "lawyer", "trial", "jury", "prison"),
    "kitchen": ("bread", "oven", "butter", "recipe", "sugar", "pepper", "soup", "cheese"),
}


def text_of(number: int) -> Document:
    """Return one of a few hundred little texts of three kinds, the same for a number each time."""
    kind = list(KINDS)[number % len(KINDS)]
    rng = np.random.default_rng(number)
    words = rng.choice(KINDS[kind], 4, replace=False).tolist()
    return Document(title=" ".join(words[:2]), categories=(kind,), text=" ".join(words))


@cache
def encoder_of(seed: int = 0) -> Encoder:
    """Return an encoder fitted on such texts."""
    return fit_svd([text_of(number) for number in range(60)], dimension=16, seed=seed)


def state_of(item_id: str, document: Document, **fields: Any) -> ItemState:
    """Return what rules know of an item of some text."""
    plain = ItemState(
        item_id, document.title, document.categories, hidden=False, expires_at=None, published_at=None, changed_at=T0
    )
    return msgspec.structs.replace(plain, **fields)


def rows_of(encoder: Encoder, documents: Mapping[str, Document], at_us: int = 0) -> TextRows:
    """Return texts as the store gives them, all embedded at one moment."""
    embedded = encoder.embed(list(documents.values()))
    return TextRows(
        list(documents),
        np.full(len(documents), at_us, dtype=np.int64),
        embedded.vectors.astype(np.float16),
        embedded.terms,
        np.full((len(documents), 2), np.nan, dtype=np.float32),
    )


@dataclass
class MemoryTexts:
    """Vectors in memory, in the order in which they were embedded, and a switch that takes them away."""

    newest: str | None = None
    embedded: dict[tuple[str, str], TextRows] = field(default_factory=dict)
    now: datetime = T0
    away: bool = False
    reads: int = 0

    def embed(self, encoder: Encoder, documents: Mapping[str, Document]) -> None:
        """Embed texts by item, each a moment after the other."""
        for item_id, document in documents.items():
            self.now += timedelta(milliseconds=1)
            self.embedded[encoder.digest, item_id] = rows_of(encoder, {item_id: document}, to_us(self.now))

    def _check(self) -> None:
        self.reads += 1
        if self.away:
            raise UnavailableError("Postgres is away")

    def _of(self, encoder: str) -> list[TextRows]:
        found = [rows for (digest, _), rows in self.embedded.items() if digest == encoder]
        return sorted(found, key=lambda rows: (rows.embedded_us[0], rows.item_ids[0]))

    async def newest_encoder(self) -> str | None:
        """Return the newest encoder."""
        self._check()
        return self.newest

    async def keys(self, encoder: str, since: datetime) -> dict[str, int]:
        """Return which texts are new."""
        self._check()
        return {
            rows.item_ids[0]: int(rows.embedded_us[0])
            for rows in self._of(encoder)
            if rows.embedded_us[0] >= to_us(since)
        }

    async def ids(self, encoder: str, after_id: str, at_most: int) -> list[str]:
        """Return whose texts there are."""
        self._check()
        later = sorted(item_id for digest, item_id in self.embedded if digest == encoder and item_id > after_id)
        return later[:at_most]

    async def rows(self, encoder: str, item_ids: Sequence[str]) -> TextRows:
        """Return some texts."""
        self._check()
        return TextRows.all_of([self.embedded[encoder, item_id] for item_id in item_ids])

    async def page(self, encoder: str, after: Place, at_most: int) -> TextRows:
        """Return the texts after a place."""
        self._check()
        place = to_us(after[0]), after[1]
        later = [rows for rows in self._of(encoder) if (rows.embedded_us[0], rows.item_ids[0]) > place]
        return TextRows.all_of(later[:at_most])


@dataclass
class MemoryCatalogue:
    """Items in memory, the newest first, and a switch that takes them away."""

    rows: list[ItemRow] = field(default_factory=list)
    away: bool = False

    def put(self, item_id: str, **fields: Any) -> None:
        """Add an item that comes after all others."""
        at = T0 + timedelta(seconds=len(self.rows))
        plain = ItemRow(item_id, "", "", [], {}, False, None, None, None, at, at, True)  # noqa: FBT003  # a row
        self.rows.insert(0, replace(plain, **fields))

    def _check(self) -> None:
        if self.away:
            raise UnavailableError("Postgres is away")

    async def item(self, item_id: str, encoder: str | None) -> ItemRow | None:
        """Return an item."""
        self._check()
        del encoder
        return next((row for row in self.rows if row.item_id == item_id), None)

    async def items(self, before: tuple[datetime, str], **asked: Any) -> list[ItemRow]:
        """Return a page of items."""
        self._check()
        found = [
            replace(row, text=row.text[: asked["text_chars"]])
            for row in self.rows
            if (row.created_at, row.item_id) < before
            and (asked["category"] is None or asked["category"] in row.categories)
            and (asked["all_items"] or not row.hidden)
        ]
        return found[: asked["at_most"]]

    async def counts(self, encoder: str | None) -> ItemCounts:
        """Return the numbers of items."""
        self._check()
        return ItemCounts(
            len(self.rows), sum(row.hidden for row in self.rows), 0, len(self.rows), int(not encoder), None
        )


def with_texts(encoder: Encoder, documents: Mapping[str, Document], until_us: int = 0) -> Callable[[Path, str], Bundle]:
    """Return what opens a bundle as if it had been trained on texts of its items, those without one said here empty."""

    def open_with_texts(path: Path, digest: str) -> Bundle:
        bundle = open_bundle(path, digest)
        ids = bundle.items.external(np.arange(len(bundle.items)))
        rows = rows_of(encoder, {item_id: documents.get(item_id, Document()) for item_id in ids})
        n_factors = bundle.parts.fold_in.factors.shape[1]
        mapping = np.random.default_rng(0).normal(size=(encoder.dimension + 1, n_factors + 1)).astype(np.float32)
        index = TextIndex.build(rows.vectors, rows.terms)
        usual = usual_of(mapped(rows.vectors, mapping))
        content = Content(encoder.digest, rows.vectors, mapping, usual, until_us, index)
        manifest = msgspec.structs.replace(bundle.manifest, encoder=encoder.digest, text_until_us=until_us)
        return replace(bundle, manifest=manifest, parts=replace(bundle.parts, content=content))

    return open_with_texts
