"""Bodies of posting routes as the documentation shows them; `serving.reading` and `serving.forms` check them."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from serving.problems import MOST_ERRORS, Problem

MAX_EVENTS: Final = 1_000
"""Events that one request may hold."""


class EventsProblem(Problem):
    """A problem document that says of each event what became of it; accepted ones were sent."""

    results: list[dict[str, Any]] | None = Field(
        None,
        description=f"In the order of the events; `errors` are named until {MOST_ERRORS} are. Missing where not even "
        "the request was read.",
    )


EVENTS_PROBLEM: Final[dict[int | str, dict[str, Any]]] = {
    422: {"model": EventsProblem, "description": "At least one event is refused."}
}


class Stamped(BaseModel):
    """What may be missing and is then made by the server."""

    event_id: str | None = Field(None, max_length=64, description="Makes sending again harmless.")
    occurred_at: str | None = Field(
        None,
        description="RFC 3339 with an offset, from 1970 to a day from now; missing = now, in the order of the request.",
    )


class PostedEvent(Stamped):
    """An event as it travels; members that every event has may be missing here and are stamped.

    Further members depend on `type`; shown are those of an interaction. Members that are not known are ignored.
    """

    model_config = ConfigDict(extra="allow")

    type: str = Field("interaction", examples=["interaction"])
    schema_version: int = 1
    user_id: str | int | None = Field(None, examples=["u1"])
    item_id: str | int | None = Field(None, examples=["i1"])
    action: str | None = Field(None, examples=["like"])
    value: float | None = None


class OtherEvent(PostedEvent):
    """An event by the names of other recommenders' clients; those of `PostedEvent` are known too."""

    event_type: str | None = Field(
        None, description="What the user did (`action`), or a type of event (`type`).", examples=["like"]
    )
    timestamp: str | float | None = Field(
        None,
        description="RFC 3339 (`occurred_at`), or seconds since 1970 UTC, from 100,000,000,000 on milliseconds.",
        examples=["2026-01-01T00:00:00Z"],
    )


class OtherBatch(BaseModel):
    """Up to 1,000 such events."""

    events: list[OtherEvent] = Field(min_length=1, max_length=MAX_EVENTS)


class PostedBatch(BaseModel):
    """Up to 1,000 events."""

    events: list[PostedEvent] = Field(min_length=1, max_length=MAX_EVENTS)


class _Strict(Stamped):
    """Members that are not known are refused."""

    model_config = ConfigDict(extra="forbid")


class _Act(_Strict):
    """What a user did."""

    user_id: str | int = Field(examples=["u1"])
    recommendation_id: str | None = Field(None, max_length=256, description="Of the list that led to it.")


class PostedWatch(_Act):
    """How much of an item was watched: action `watch`, its value the share from 0 to 1."""

    item_id: str | int = Field(examples=["i1"])
    watched_s: float = Field(description="Seconds watched.", examples=[1200])
    total_s: float = Field(gt=0, description="Length of the item in seconds.", examples=[5400])


class PostedSearch(_Act):
    """What was looked for: action `search`, the query in the event's context."""

    query: str = Field(min_length=1, max_length=2000, examples=["heist films"])


class PostedRating(_Act):
    """How an item was rated: action `rating`."""

    item_id: str | int = Field(examples=["i1"])
    rating: float = Field(description="On the scale of all ratings.", examples=[4.5])


class PostedFavorite(_Act):
    """Whether an item is a favourite from now on: action `favorite`, its value 1 or -1."""

    item_id: str | int = Field(examples=["i1"])
    favorite: bool


class PostedFeedback(_Strict):
    """What became of a recommendation."""

    recommendation_id: str = Field(min_length=1, max_length=256)
    outcome: str = Field(pattern="^[a-z_]{1,32}$", examples=["clicked"])
    item_id: str | int | None = Field(None, examples=["i1"])
    user_id: str | int | None = Field(None, examples=["u1"])


class PostedFeedbacks(BaseModel):
    """Up to 1,000 outcomes."""

    feedback: list[PostedFeedback] = Field(min_length=1, max_length=MAX_EVENTS)


class ItemChange(_Strict):
    """Members of an item; what is not named stays as it is."""

    title: str | None = Field(None, max_length=2000)
    text: str | None = Field(None, max_length=100_000)
    author: str | list[str] | None = Field(
        None, description="Kept as `author` among the attributes; null takes it away.", examples=["Marcus Aurelius"]
    )
    categories: list[str] | None = Field(None, max_length=256)
    attributes: dict[str, Any] | None = Field(None, description="In a partial version, null takes a key away.")
    hidden: bool | None = Field(None, description="Whether it is left out of all lists.")
    stock: int | None = Field(None, ge=0, description="Null = not counted.")
    published_at: str | None = Field(None, description="RFC 3339; null = always was.")
    expires_at: str | None = Field(None, description="RFC 3339; null = never.")


class PostedItem(ItemChange):
    """An item of the catalogue; a whole version replaces all that was said before."""

    item_id: str | int = Field(examples=["i1"])
    partial: bool = Field(default=False, description="Whether only the members named change.")


class PostedItems(BaseModel):
    """Up to 1,000 items."""

    items: list[PostedItem] = Field(min_length=1, max_length=MAX_EVENTS)


class UserChange(_Strict):
    """Attributes of a user."""

    attributes: dict[str, Any] = Field({}, description="In a partial version, null takes a key away.")


class PostedUser(UserChange):
    """What is known of a user apart from what they do."""

    user_id: str | int = Field(examples=["u1"])
    partial: bool = Field(default=False, description="Whether only the attributes named change.")


class PostedUsers(BaseModel):
    """Up to 1,000 users."""

    users: list[PostedUser] = Field(min_length=1, max_length=MAX_EVENTS)


POSTED_MODELS: Final[list[type[BaseModel]]] = [
    *(PostedEvent, PostedBatch, PostedWatch, PostedSearch, PostedRating, PostedFavorite),
    *(
        OtherEvent,
        OtherBatch,
        PostedFeedback,
        PostedFeedbacks,
        ItemChange,
        PostedItem,
        PostedItems,
        UserChange,
        PostedUser,
        PostedUsers,
    ),
]
