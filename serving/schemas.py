"""Bodies of requests and answers: the checks of the one, the documentation of both."""

from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from features.contracts.event_problems import holds_nul, spells_nul
from features.contracts.naming import MOST_NAMED
from features.contracts.times import in_utc, to_us
from serving.asks import (
    DEFAULT_K,
    MAX_ACTIONS,
    MAX_CANDIDATES,
    MAX_CATEGORIES,
    MAX_EXCLUDED,
    MAX_K,
    Ask,
    InlineEvent,
    Kind,
)

MAX_CONTEXT_BYTES: Final = 16_384
MAX_INLINE_EVENTS: Final = 500


def id_text(value: Any) -> Any:
    """Return an id as text: JSON integers become decimal strings, the rest is left to the type check."""
    return str(value) if type(value) is int else value


def without_nul(value: str) -> str:
    """Return a text as it is, if Postgres can keep it."""
    if "\0" in value:
        raise ValueError("holds U+0000, which cannot be stored")
    return value


def _fit_for_event(context: dict[str, Any]) -> dict[str, Any]:
    raw = orjson.dumps(context)
    if len(raw) > MAX_CONTEXT_BYTES:
        raise ValueError(f"is larger than {MAX_CONTEXT_BYTES} bytes of JSON")
    if spells_nul(raw) and holds_nul(raw):
        raise ValueError("holds U+0000, which cannot be stored")
    return context


IdText = Annotated[
    str,
    BeforeValidator(id_text, json_schema_input_type=str | int),
    StringConstraints(min_length=1, max_length=256),
    AfterValidator(without_nul),
]
QueryId = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(without_nul)]
Text = Annotated[str, AfterValidator(without_nul)]
Instant = Annotated[AwareDatetime, AfterValidator(in_utc)]
ExperimentId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
Action = Annotated[str, Field(pattern=r"^[a-z_]{1,32}$")]
KIND: Final = (
    "`feed`: what suits the user. `similar`: what is like an item, `item_id` or else the user's latest liked one. "
    "`trending`: what many like lately. `new`: the newest items. What a kind has too little of is filled up."
)
EXPLAIN: Final = (
    "Adds ranks by source and what moved each item, in words and by how much; of a user's data themselves, feature "
    "values and event ids, to the admin's token alone: null without it."
)
SEEN_ACTIONS: Final = (
    "Only items on which the user's latest events (those that the model reads, 500 as a rule) hold one of these "
    "actions count as seen and stay away; left out, whatever the user ever did counts."
)

FRESH_SHARE: Final = (
    "Share of the places, rounded up, that goes to items on which nobody has acted, the best for this user, as far as "
    "there are any: others learn of them, and so does the next training."
)

FRESH_DRAW: Final = (
    "How likely it is for each of the places of `fresh_share` that its item is drawn by lot among all that it may go "
    "to; else it is the best for this user. Items then tell their `propensity`, and so do impressions: how likely each "
    "was for its place, given those above it. Lists of type `feed` draw, "
    "and of the others those that are made as a feed is: of type `similar` where there is no item to be like."
)


class HistoryEvent(BaseModel):
    """One act of the session, as an interaction event has it."""

    model_config = ConfigDict(extra="forbid")

    item_id: IdText = Field(examples=["i1"])
    action: Action = "view"
    value: float | None = Field(None, allow_inf_nan=False)
    occurred_at: Instant | None = Field(None, description="Missing = just now.")

    def inline(self) -> InlineEvent:
        """Return the act as the pipeline takes it."""
        at_us = None if self.occurred_at is None else to_us(self.occurred_at)
        return InlineEvent(self.item_id, self.action, self.value, at_us)


class RecommendRequest(BaseModel):
    """What `POST /api/v1/recommend` takes; an empty object is an anonymous visitor without history."""

    model_config = ConfigDict(extra="forbid")

    user_id: IdText | None = Field(None, description="Missing = anonymous session.", examples=["u1"])
    k: int = Field(DEFAULT_K, ge=1, le=MAX_K, description="Items wanted.")
    type: Kind = Field("feed", description=KIND)
    item_id: IdText | None = Field(
        None, description="With type `similar`: the item whose like are wanted; other types pay no heed to it."
    )
    history: list[HistoryEvent] = Field(
        [], max_length=MAX_INLINE_EVENTS, description="Acts of this session, in the order in which they happened."
    )
    candidates: list[IdText] | None = Field(
        None,
        max_length=MAX_CANDIDATES,
        description="Rank these only; those that the catalogue alone knows come last, unknown ones not at all.",
    )
    categories: list[Text] = Field([], max_length=MAX_CATEGORIES, description="Only items in at least one of these.")
    exclude: list[IdText] = Field([], max_length=MAX_EXCLUDED, description="Items that must not come back.")
    include_seen: bool | None = Field(
        default=None,
        description="Whether items that the user already had may come back; left out, the served version decides.",
    )
    seen_actions: list[Action] = Field([], max_length=MAX_ACTIONS, description=SEEN_ACTIONS)
    diversity: float | None = Field(
        None,
        ge=0,
        le=1,
        description="How much the list avoids items like those above them; left out, as the server is set.",
    )
    fresh_share: float | None = Field(None, ge=0, le=1, description=f"{FRESH_SHARE} Left out, as the server is set.")
    fresh_draw: float | None = Field(None, ge=0, le=1, description=f"{FRESH_DRAW} Left out, as the server is set.")
    experiment_id: ExperimentId | None = None
    explain: bool = Field(default=False, description=EXPLAIN)
    context: Annotated[dict[str, Any], AfterValidator(_fit_for_event)] = Field(
        {}, description="Goes into the impression event as it is."
    )

    def ask(self) -> Ask:
        """Return the wish that the body expresses."""
        return Ask(
            user_id=self.user_id,
            k=self.k,
            kind=self.type,
            item_id=self.item_id,
            history=[event.inline() for event in self.history],
            candidates=self.candidates,
            categories=self.categories,
            exclude=self.exclude,
            include_seen=self.include_seen,
            seen_actions=self.seen_actions,
            experiment_id=self.experiment_id,
            explain=self.explain,
            diversity=self.diversity,
            fresh_share=self.fresh_share,
            fresh_draw=self.fresh_draw,
            context=self.context,
        )


class Contribution(BaseModel):
    """What one feature did to the score of an item."""

    name: str = Field(examples=["user_idle"])
    meaning: str = Field(examples=["time since the user's latest event"])
    value: float | None = Field(description="Null = unknown, or not told.", examples=[2.5])
    contribution: float = Field(description="What it adds to the ranker's score.", examples=[-0.25])
    words: str = Field(
        description="With the value where that is told.",
        examples=["lowers the score by 0.25: time since the user's latest event is 2.5 (days)"],
    )


class ItemExplanation(BaseModel):
    """How one item came into the list."""

    ranks: dict[str, int] = Field(description="Rank from 1 by each source that offered it.", examples=[{"als": 3}])
    features: dict[str, float] | None = Field(
        description="What the ranker saw, by name; unknown ones left out. Null where it is not told."
    )
    ordered_by: str = Field(
        description="`ranker`, `fresh_ranker` (of items that were new at training), `blend` of all sources' "
        "ranks, a source, `filler`, `popular`, `trend`, `new`, or `likeness` to an item.",
        examples=["ranker"],
    )
    said: str = Field(description="The same in a sentence.", examples=["Ordered by the ranker."])
    ranker_score: float | None = Field(
        None, description="Base and all contributions together; only of what a ranker ordered."
    )
    base: float | None = Field(None, description="What the ranker says of an average item.")
    contributions: list[Contribution] = Field(
        description="The strongest of each sign, the strongest first; for as many items, from the top, as time allows."
    )


class RecommendedItem(BaseModel):
    """One place of a list."""

    item_id: str = Field(examples=["i1"])
    rank: int = Field(description="From 1.", examples=[1])
    score: float | None = Field(description="Comparable within this list only.", examples=[0.93])
    source: str = Field(description="What ranked the item best.", examples=["als"])
    reason: str = Field(examples=["Because you liked Heat"])
    title: str | None = Field(None, examples=["Collateral"])
    propensity: float | None = Field(
        None, description="How likely it was to be drawn for its place, given those above it. Only with `fresh_draw`."
    )
    explanation: ItemExplanation | None = Field(None, description="Only with `explain`.")


class ListExplanation(BaseModel):
    """What a list was made from: with the event ids, enough to compute it again."""

    as_of_us: int = Field(description="Moment of the answer, microseconds since 1970 UTC.")
    statistics_closed_at_us: int = Field(description="Bucket edge of the item statistics.")
    bundle_digest: str
    spec_hash: str
    history_event_ids: list[str] | None = Field(
        description="Newest first; `inline-...` are those of the request. Null where they are not told."
    )


class RecommendAnswer(BaseModel):
    """A ranked list."""

    user_id: str | None = Field(examples=["u1"])
    recommendation_id: str = Field(examples=["2f1c8f0e-8f0f-4b8e-9c60-6f3a4f5d7a11"])
    model_version: str | None = Field(description="Null where there is no model yet.", examples=["7"])
    items: list[RecommendedItem]
    degraded: bool = Field(description="Whether something was missing that makes the list worse.", examples=[False])
    fallback_reason: str | None = Field(
        description="`no_history`, `item_unknown` (nothing is known of `item_id`), or what was missing: "
        "`no_model`, `profile_unavailable`, `item_states_unavailable`, "
        "`statistics_unavailable`, `statistics_of_other_weights` (until the next training); or what was not there in "
        "time: `list_late` (what is popular comes instead), "
        "`profile_late`, `ranker_late`.",
        examples=[None],
    )
    took_ms: float = Field(examples=[4.1])
    experiment_id: str | None = Field(None, description="As given.")
    explanation: ListExplanation | None = Field(None, description="Only with `explain`.")


class EventResult(BaseModel):
    """What became of one event."""

    event_id: str | None = Field(examples=["8f4f4f0e"])
    status: Literal["accepted", "refused"]
    code: str | None = Field(None, description="Why it was refused.", examples=["invalid_field"])
    errors: list[dict[str, str]] | None = Field(
        None,
        max_length=MOST_NAMED + 1,
        description=f"The first {MOST_NAMED} problems, and then, with `$` as path, how many more there are.",
        examples=[[{"path": "item_id", "message": "is missing"}]],
    )


class EventsAnswer(BaseModel):
    """Results in the order of the events."""

    results: list[EventResult]


class RefusedVersion(BaseModel):
    """A version that the alias points to, but that is not served."""

    version: str
    digest: str | None
    reason: str = Field(description="In full to the admin's token alone.")
    at: str


class ModelInfo(BaseModel):
    """What is served."""

    model_name: str
    alias: str
    version: str | None
    digest: str | None
    run_id: str | None
    trained_until: str | None
    loaded_at: str | None
    spec_hash: str | None
    items: int | None
    arrivals: int | None = Field(description="Items that came after the bundle was made, and are recommended too.")
    encoder: str | None = Field(description="Digest of the encoder of its content vectors.")
    code_version: str | None
    statistics_closed_at: str | None
    refused: RefusedVersion | None = Field(description="The alias points to this one, but it must not be served.")
    registry: Literal["ok", "away", "unknown"] = Field(
        description="Whether the registry answered the latest look; `unknown` until the first one has ended."
    )
    registry_error: str | None = Field(
        description="Why the registry cannot be read now; in full to the admin's token alone."
    )


class ModelMove(BaseModel):
    """A move of the alias that servers follow; who made it, and why, is there for the admin's token alone."""

    at: str = Field(examples=["2026-01-01T00:00:00Z"])
    by: str = Field(
        default_factory=str,
        description="`admin`, `airflow:NAME`, an account's name, or `MLflow UI (unknown)`.",
        examples=["airflow:ana"],
    )
    how: Literal["promote", "rollback"]
    alias: str = Field(examples=["champion"])
    from_: str | None = Field(alias="from", description="The version that it pointed to.", examples=["6"])
    to: str = Field(examples=["7"])
    reason: str = Field(default_factory=str, description="In their words; may be empty.")
    correlation_id: str = Field(
        default_factory=str, description="The request or the run in Airflow that did it; may be empty."
    )


class ModelVersion(BaseModel):
    """A version of the model in the registry."""

    version: str = Field(examples=["7"])
    aliases: list[str] = Field(description="That point to it.", examples=[["champion"]])
    digest: str | None = Field(description="SHA-256 of the bundle's manifest; without one it cannot be served.")
    run_id: str | None = Field(description="MLflow run of its training.")
    created_at: str = Field(examples=["2026-01-01T00:00:00Z"])
    gate: str | None = Field(description="What the gate decided; null before it has.", examples=["promote"])
    gate_reasons: str | None
    tags: dict[str, str] = Field(
        description="`approved_by`, `rejected_by` and `approval_reason` for the admin's token alone."
    )
    metrics: dict[str, float | None] = Field(description="Of its run.", examples=[{"als/ndcg_at_10": 0.12}])
    moves: list[ModelMove] | None = Field(
        description="Of the served alias to and from it, newest first, among its latest 1,000; null while they cannot "
        "be read. One made in MLflow's pages follows within seconds."
    )


class ModelVersions(BaseModel):
    """Versions of the model, newest first."""

    model_name: str
    versions: list[ModelVersion]


class ReloadAnswer(BaseModel):
    """What a look at the alias came to."""

    outcome: Literal["unchanged", "loaded"]
    version: str | None


class Health(BaseModel):
    """State of the server and of what it depends on."""

    status: Literal["ok", "degraded", "unavailable"]
    ready: bool
    checks: dict[str, str] = Field(
        description="`ok` or `away`; `unknown` of Kafka and the registry while they are asked for the first time, "
        "`incomplete` of Kafka where it lacks topics.",
        examples=[{"model": "ok", "postgres": "ok", "kafka": "ok", "registry": "ok"}],
    )
    lacks: list[str] = Field(description="Each topic of events that was missing when Kafka was asked last; what to do.")


class Alive(BaseModel):
    """The process answers."""

    alive: Literal[True]


class Ready(BaseModel):
    """Whether a model is served."""

    ready: bool
