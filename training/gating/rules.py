"""The rules that a gate's file may hold, as data: one class for each kind, checked when the file is read."""

from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

OnFail = Literal["refuse", "human", "warn"]
Metric = Literal["ndcg@10", "recall@20", "hit_rate@10"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Rule(_Strict):
    """What all rules have: what it means that one is not met."""

    on_fail: OnFail = "refuse"


class SnapshotIntact(_Rule):
    """The run's data are those that were taken from the database."""

    kind: Literal["snapshot_intact"]


class NoLeak(_Rule):
    """Nothing of the judging window was learned."""

    kind: Literal["no_leak"]


class Freshness(_Rule):
    """Training ended at most so many days before the window begins."""

    kind: Literal["freshness"]
    days: Positive


class Volume(_Rule):
    """Enough was learned from: of what there was, and against the champion."""

    kind: Literal["volume"]
    min_share: Share


class Items(_Rule):
    """The champion's items are known."""

    kind: Literal["items"]
    min_share: Share


class CategoryItems(_Rule):
    """The champion's items are known in each of its categories of at least `min_items`."""

    kind: Literal["categories"]
    min_share: Share
    min_items: Annotated[int, Field(ge=1)]


class Minimum(_Rule):
    """A metric's mean reaches a value."""

    kind: Literal["minimum"]
    metric: Metric
    at_least: Share


class BetterThanPopularity(_Rule):
    """A metric is clearly better than that of a list of what is popular."""

    kind: Literal["better_than_popularity"]
    metric: Metric


class NotWorseThanChampion(_Rule):
    """At most a margin of a metric is lost against the champion: a share of its mean, units of the metric, or both."""

    kind: Literal["not_worse_than_champion"]
    metric: Metric
    margin: Annotated[float, Field(gt=0, lt=1)] | None
    absolute_margin: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _some_margin(self) -> Self:
        if self.margin is None and self.absolute_margin is None:
            raise ValueError("margin and absolute_margin are both null; one has to say what may be lost")
        return self


class Segments(_Rule):
    """In no part of users or labels clearly more than a share of the champion's mean is lost."""

    kind: Literal["segments"]
    metric: Metric
    margin: Annotated[float, Field(gt=0, lt=1)]


class Coverage(_Rule):
    """The first places hold enough different items, against the champion's."""

    kind: Literal["coverage"]
    min_ratio: Positive


class PopularityBias(_Rule):
    """The first places lean on popular items not much more than the champion's."""

    kind: Literal["popularity_bias"]
    max_ratio: Positive


class Size(_Rule):
    """The bundle's files are not too large, by themselves and against the champion's."""

    kind: Literal["size"]
    max_mb: Positive
    max_ratio: Positive


class Latency(_Rule):
    """A list is made fast enough, by itself and against the champion."""

    kind: Literal["latency"]
    max_ms: Positive
    max_ratio: Positive
    ignore_below_ms: Annotated[float, Field(ge=0)]


class ServingPath(_Rule):
    """What serves now is as it was trained, as far as its last check of at most so many days ago knows."""

    kind: Literal["serving_path"]
    days: Positive


class DataDoctor(_Rule):
    """No check of what has landed has failed with this severity or a higher one."""

    kind: Literal["data_doctor"]
    severity: Literal["warn", "block"]


Rule = (
    SnapshotIntact
    | NoLeak
    | Freshness
    | Volume
    | Items
    | CategoryItems
    | Minimum
    | BetterThanPopularity
    | NotWorseThanChampion
    | Segments
    | Coverage
    | PopularityBias
    | Size
    | Latency
    | ServingPath
    | DataDoctor
)
_Kind = TypeVar("_Kind", bound=_Rule)
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_@ -]{0,39}$")]


class GateRules(_Strict):
    """What the gate asks for; `training/gating/gate.yaml` says what each member means."""

    promote: Literal["not_worse", "better"]
    min_users: Annotated[int, Field(ge=1)]
    window_users: Annotated[int, Field(ge=1)]
    power: Annotated[float, Field(ge=0.5, lt=1)]
    resamples: Annotated[int, Field(ge=200, le=100_000)]
    rules: Annotated[dict[Name, Annotated[Rule, Field(discriminator="kind")]], Field(min_length=1)]

    @model_validator(mode="after")
    def _can_tell_what_is_better(self) -> Self:
        if self.promote == "better" and not self.of_kind(NotWorseThanChampion):
            raise ValueError("promote: better needs a rule of kind not_worse_than_champion, which alone says what is")
        return self

    def of_kind(self, kind: type[_Kind]) -> list[_Kind]:
        """Return the rules of a kind."""
        return [rule for rule in self.rules.values() if isinstance(rule, kind)]
