"""A list as it goes out: its items written once, for the answer and for the impression."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Self

import orjson

from features.contracts.events import ShownItem
from serving import fallback

if TYPE_CHECKING:
    from serving.recording import Made


@dataclass(frozen=True, eq=False)
class Listed:
    """A list in its wire form, why it is no better, and what it was made from, for those who ask.

    Attributes
    ----------
    items
        JSON of the list's items.
    shown
        The same as impressions tell it.
    lacking
        All reasons why the list is no better.
    made
        What it was made from and what the recommender made of it, where that is to be recorded.
    """

    items: bytes
    shown: Sequence[ShownItem]
    model_version: str | None
    degraded: bool
    fallback_reason: str | None
    lacking: Sequence[str] = ()
    explanation: dict[str, Any] | None = None
    made: "Made | None" = None

    @classmethod
    def of(
        cls,
        items: Sequence[dict[str, Any]],
        model_version: str | None,
        reasons: Sequence[str | None],
        explanation: dict[str, Any] | None = None,
        made: "Made | None" = None,
    ) -> Self:
        """Return a list of items in their wire form, and the gravest of the reasons why it is no better."""
        shown = [
            ShownItem(
                item_id=item["item_id"],
                position=item["rank"],
                source=item["source"],
                score=item["score"],
                propensity=item.get("propensity"),
            )
            for item in items
        ]
        # A copy: orjson's own bytes hold on to all the room in which they were written, up to twice as much.
        written = bytes(memoryview(orjson.dumps(items, option=orjson.OPT_SERIALIZE_NUMPY)))
        lacking = [reason for reason in reasons if reason is not None]
        return cls(written, shown, model_version, *fallback.verdict(reasons), lacking, explanation, made)

    @cached_property
    def etag(self) -> str:
        """Return a weak entity tag: the same for the same items of the same version, told for the same reason."""
        said = f"{self.model_version} {self.fallback_reason} ".encode()
        return f'W/"{blake2b(said + self.items, digest_size=12).hexdigest()}"'
