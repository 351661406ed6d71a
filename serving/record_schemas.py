"""Answers about records, replays, users' features and the audit: their documentation."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from features.audit import Action


class RecordedItem(BaseModel):
    """One place of a list as it was served."""

    item_id: str = Field(examples=["i1"])
    rank: int
    score: float | None
    source: str
    reason: str


class RecordedCandidate(BaseModel):
    """One candidate: what the ranker read of it, and what ordered it."""

    item_id: str
    score: float
    unmet: bool = Field(description="Whether it was ranked as an item that nobody ever met.")
    ranks: dict[str, int] = Field(description="Rank from 1 by each source that offered it.")
    features: dict[str, float] = Field(description="Feature row by name; unknown ones left out.")


class RecordAnswer(BaseModel):
    """A list as it was served, and all that it was made from."""

    recommendation_id: str
    user_id: str | None
    served_at: datetime
    request: dict[str, Any] = Field(description="What was asked for, and how lists were mixed then.")
    model_version: str | None
    bundle_digest: str | None = Field(description="Null, as what follows, where there was no model.")
    spec_hash: str | None
    as_of_us: int | None = Field(description="Moment of the answer, microseconds since 1970 UTC.")
    statistics_closed_at_us: int | None = Field(description="Bucket edge of the item statistics.")
    own_statistics: bool | None = Field(description="Whether they were the bundle's own copy.")
    n_items: int | None = Field(description="Items that the model knew.")
    n_allowed: int | None = Field(description="Items that could come back.")
    history_event_ids: list[str]
    items: list[RecordedItem]
    degraded: bool
    fallback_reason: str | None
    lacking: list[str] = Field(description="All reasons why the list is no better.")
    took_ms: dict[str, float] = Field(description="Time of each step.", examples=[{"profile": 1.2, "rank": 2.1}])
    ordered_by: str | None = Field(description="`ranker`, `blend` or a source; null where nothing was ranked.")
    candidates: list[RecordedCandidate] = Field(description="Best first.")


class SetOutcome(BaseModel):
    """Which items went and which came."""

    same: bool
    missing: list[str] = Field(description="Served, but not any more; the first of them.")
    added: list[str]
    missing_count: int
    added_count: int


class OrderOutcome(BaseModel):
    """Whether the order is the same."""

    same: bool


class ScoresOutcome(BaseModel):
    """Items whose scores are others now."""

    same: bool
    different: list[dict[str, Any]] = Field(
        description="The first of them.", examples=[[{"item_id": "i1", "served": 0.5, "replayed": 0.4}]]
    )
    different_count: int


class RowsOutcome(BaseModel):
    """Feature values that are others now."""

    same: bool
    compared: int = Field(description="Candidates whose rows were compared.")
    different_count: int = Field(description="Values that differ.")
    features: list[dict[str, Any]] = Field(
        description="By feature, with the first item that differs.",
        examples=[
            [
                {
                    "name": "user_events",
                    "different_count": 2,
                    "example": {"item_id": "i1", "served": 3.0, "replayed": 2.0},
                }
            ]
        ],
    )
    note: str | None = None


class ReplayAnswer(BaseModel):
    """What computing a list again gives, against what was served."""

    recommendation_id: str
    same: bool = Field(description="All below is the same, bit for bit.")
    items: SetOutcome
    order: OrderOutcome
    scores: ScoresOutcome
    candidates: SetOutcome | None
    feature_rows: RowsOutcome | None
    item_ids: list[str] = Field(description="The list as it comes out now.")
    notes: list[str] = Field(description="What is known not to be as it was.")


class UserFeature(BaseModel):
    """One column that is the same for all candidates of a user."""

    name: str = Field(examples=["user_events"])
    meaning: str = Field(examples=["events in the user's history"])
    unit: str = Field(examples=["count"])
    value: float | None = Field(description="Null = unknown.", examples=[12.0])


class UserEvent(BaseModel):
    """One event of a history."""

    event_id: str
    item_id: str
    title: str | None
    action: str
    value: float | None
    at: datetime


class HistorySummary(BaseModel):
    """What is known of a user, in short."""

    events: int = Field(description="Latest events that features read; at most the model's limit.")
    by_action: dict[str, int]
    items_seen: int = Field(description="All items that the user ever touched.")
    first_at: datetime | None
    last_at: datetime | None
    latest: list[UserEvent] = Field(description="Newest first.")


class LikedCategory(BaseModel):
    """A category and its share of a user's liking."""

    name: str
    share: float


class Refreshed(BaseModel):
    """What a refresh did."""

    items_seen_before: int
    items_seen: int
    published: bool = Field(description="To `processed_features`; false where nothing is known of the user.")


class UserFeaturesAnswer(BaseModel):
    """What the ranker would see of a user now."""

    user_id: str
    known: bool = Field(description="Whether anything is known of the user.")
    as_of_us: int = Field(description="The moment, microseconds since 1970 UTC.")
    statistics_closed_at_us: int | None = Field(description="Bucket edge that times are counted from.")
    model_version: str | None = Field(description="Null, and no features, where there is no model yet.")
    spec_hash: str | None = Field(description="Version of the features' definitions.")
    features: list[UserFeature]
    categories: list[LikedCategory] = Field([], description="Where the user's liking goes, most first.")
    history: HistorySummary
    refreshed: Refreshed | None = Field(None, description="Only of a refresh.")


class AuditEntry(BaseModel):
    """Something that was done."""

    audit_event_id: int
    at: datetime
    actor: str = Field(description="`admin` for the API's token, `airflow:NAME` for Airflow's users, or an account.")
    action: Action = Field(examples=["reload"])
    target: str = Field(examples=["7"])
    correlation_id: str = Field(description="`X-Request-Id` of the request, or the run in Airflow.")
    details: dict[str, Any]


class AuditAnswer(BaseModel):
    """What was done last, newest first."""

    events: list[AuditEntry]
