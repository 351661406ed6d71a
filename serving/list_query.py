"""The query of a request for a list: one form for its description, for the framework, and for the door past it."""

from typing import Annotated, Final, get_origin
from urllib.parse import parse_qsl

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

from serving.asks import DEFAULT_K, MAX_ACTIONS, MAX_CATEGORIES, MAX_EXCLUDED, MAX_K, Ask, Kind
from serving.schemas import EXPLAIN, FRESH_DRAW, FRESH_SHARE, KIND, SEEN_ACTIONS, ExperimentId, QueryId, Text

_MOST: Final = {"categories": MAX_CATEGORIES, "exclude": MAX_EXCLUDED, "seen_actions": MAX_ACTIONS}
_COMMAS: Final = "Repeated or by commas, at most {} either way; of parts by commas, those that are the same count once."
_Actions = Annotated[str, Field(pattern=r"^[a-z_]{1,32}(,[a-z_]{1,32})*$")]


class ListQuery(BaseModel):
    """What a list may be asked to be; unknown keys are not heeded."""

    k: int = Field(DEFAULT_K, ge=1, le=MAX_K, description="Items wanted.")
    type: Kind = Field("feed", description=KIND)
    item_id: QueryId | None = Field(
        None, description="With type `similar`: the item whose like are wanted; other types pay no heed to it."
    )
    categories: list[Text] = Field(
        [],
        max_length=MAX_CATEGORIES,
        description=f"Only items in at least one. {_COMMAS.format(MAX_CATEGORIES)}",
    )
    exclude: list[Text] = Field(
        [],
        max_length=MAX_EXCLUDED,
        description=f"Items that must not come back. {_COMMAS.format(MAX_EXCLUDED)}",
    )
    include_seen: bool | None = Field(
        default=None,
        description="Whether items that the user had may come back; left out, the served version decides.",
    )
    seen_actions: list[_Actions] = Field(
        [], max_length=MAX_ACTIONS, description=f"{SEEN_ACTIONS} {_COMMAS.format(MAX_ACTIONS)}"
    )
    diversity: float | None = Field(
        None, ge=0, le=1, description="How much the list avoids items like those above; as the server is set."
    )
    fresh_share: float | None = Field(None, ge=0, le=1, description=f"{FRESH_SHARE} As the server is set.")
    fresh_draw: float | None = Field(None, ge=0, le=1, description=f"{FRESH_DRAW} As the server is set.")
    experiment_id: ExperimentId | None = Field(None, description="Echoed, and kept with the impression.")
    explain: bool = Field(default=False, description=EXPLAIN)

    @field_validator(*_MOST)
    @classmethod
    def _few_parts(cls, values: list[str], info: ValidationInfo) -> list[str]:
        """Return values and their parts, refused in pydantic's own words where there are too many."""
        parts, most = by_commas(values), _MOST[str(info.field_name)]
        if (count := sum("," not in part for part in parts)) > most:
            raise PydanticKnownError("too_long", {"field_type": "List", "max_length": most, "actual_length": count})
        return parts

    def ask(self, user_id: str | None, deadline_s: float | None) -> Ask:
        """Return the wish that a user's query expresses; None = of a visitor without an id."""
        return Ask(
            user_id=user_id,
            k=self.k,
            kind=self.type,
            item_id=self.item_id,
            categories=self.categories,
            exclude=self.exclude,
            include_seen=self.include_seen,
            seen_actions=self.seen_actions,
            experiment_id=self.experiment_id,
            explain=self.explain,
            diversity=self.diversity,
            fresh_share=self.fresh_share,
            fresh_draw=self.fresh_draw,
            deadline_s=deadline_s,
        )


_REPEATED: Final = frozenset(
    name for name, field in ListQuery.model_fields.items() if get_origin(field.annotation) is list
)


def read_query(query: bytes) -> ListQuery | None:
    """Return a query string as the framework would read it, None where it is not well-formed."""
    single: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in _REPEATED:
            repeated.setdefault(name, []).append(value)
        else:
            single[name] = value
    try:
        return ListQuery.model_validate({**single, **repeated})
    except ValidationError:
        return None


def by_commas(values: list[str]) -> list[str]:
    """Return values as they are and, where they hold commas, their parts too, each once: an id may hold a comma itself.

    >>> by_commas(["a,b", "c", "a", ""])
    ['a,b', 'a', 'b', 'c']
    """
    parts = (part for value in values for part in ((value, *value.split(",")) if "," in value else (value,)))
    return [part for part in dict.fromkeys(parts) if part]
