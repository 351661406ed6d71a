"""Bodies of requests and answers about items: the checks of the one, the documentation of both."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.asks import DEFAULT_K, MAX_CATEGORIES, MAX_EXCLUDED, MAX_K
from serving.schemas import IdText, RecommendedItem
from serving.text_search import MAX_QUERY, SearchAsk


class ListedItem(BaseModel):
    """An item as lists show it."""

    item_id: str = Field(examples=["i1"])
    title: str = Field(examples=["Meditations"])
    author: str | None = Field(description="What `attributes` say in `author` or `authors`.", examples=["M. Aurelius"])
    text: str = Field(description="Of long texts, lists show the beginning.")
    categories: list[str]
    hidden: bool
    stock: int | None
    published_at: str | None
    expires_at: str | None
    created_at: str = Field(description="When it first came; lists are ordered by it.")
    changed_at: str
    embedded: bool = Field(description="Whether its present text can be searched, or will be in a moment.")


class ItemAnswer(ListedItem):
    """One item as it is now."""

    text: str
    attributes: dict[str, Any]


class ItemsAnswer(BaseModel):
    """A page of items, newest first."""

    items: list[ListedItem]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class ItemStatsAnswer(BaseModel):
    """How many items there are, and how far their texts have come."""

    items: int = Field(description="Not deleted.")
    hidden: int
    deleted: int
    embedded: int = Field(description="Those of `items` whose present text has a vector by `encoder`.")
    waiting: int = Field(description="Those of `items` whose text is new, or changed, and not embedded by it yet.")
    oldest_waiting_s: float | None = Field(description="Seconds that the first of them has waited; null = none waits.")
    encoder: str | None = Field(description="Digest of the encoder that searches use; null = none is fitted yet.")
    searchable: int = Field(description="Texts that this server finds now.")
    arrivals: int = Field(description="Items that this server recommends though its bundle is older than they.")


class SearchRequest(BaseModel):
    """What `POST /api/v1/items/search` takes."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=MAX_QUERY, examples=["a thief and a detective"])
    k: int = Field(DEFAULT_K, ge=1, le=MAX_K, description="Items wanted.")
    categories: list[str] = Field([], max_length=MAX_CATEGORIES, description="Only items in at least one of these.")
    exclude: list[IdText] = Field([], max_length=MAX_EXCLUDED, description="Items that must not come back.")
    include_hidden: bool = Field(
        default=False, description="Whether items may come back that may not be shown now: hidden, expired, sold out."
    )

    def ask(self) -> SearchAsk:
        """Return what the body asks for."""
        return SearchAsk(self.query, self.k, self.categories, self.exclude, self.include_hidden)


class FoundItem(BaseModel):
    """An item whose text matches."""

    item_id: str = Field(examples=["i1"])
    rank: int = Field(description="From 1.", examples=[1])
    score: float = Field(
        description="Comparable among searches by one encoder. What is titled as the query stands before all others.",
        examples=[0.71],
    )
    title: str | None = Field(examples=["Heat"])


class SearchAnswer(BaseModel):
    """Items whose texts match a query, best first; fewer than k where fewer match at all."""

    query: str
    items: list[FoundItem]
    encoder: str = Field(description="Digest of the encoder of query and texts.")
    model_version: str | None = Field(description="The served version; null where there is none yet.", examples=["7"])
    degraded: bool
    fallback_reason: str | None = Field(
        description="`item_states_unavailable` or `texts_unavailable`: what could not be read since the start."
    )
    took_ms: float


class SimilarAnswer(BaseModel):
    """Items like one item."""

    item_id: str = Field(examples=["i1"])
    by: Literal["both", "behaviour", "content"]
    model_version: str | None = Field(examples=["7"])
    items: list[RecommendedItem] = Field(
        description="`source` is `similar` where the same users like both, `content` where their texts are alike."
    )
    degraded: bool
    fallback_reason: str | None
    took_ms: float


class OnboardingAnswer(BaseModel):
    """Items to ask a new user about: liking one or another tells tastes apart."""

    model_version: str | None = Field(examples=["7"])
    items: list[RecommendedItem]
    degraded: bool
    fallback_reason: str | None
    took_ms: float
