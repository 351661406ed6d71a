"""What each posting route takes: shapes that people write, turned into events as they travel.

Unlike events as such, which may come from a producer newer than we are, these shapes refuse members that they do not
know: a misspelt `catgories` must not vanish.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from features.contracts.event_problems import EventError, field_problems, nearest_member, spells_nul
from features.contracts.events import BaseEvent, Feedback, Id, Item, Text, User
from features.contracts.naming import MOST_NAMED, Problem
from serving.reading import STAMPED, Form

Fields = dict[str, Any]

OTHER_NAMES: Final = ("event_type", "timestamp")
EVENT_TYPES: Final = ("interaction", "impression", "item", "user", "feedback")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM: Final = 1e11
"""As seconds this would be the year 5138."""
MAX_AUTHOR: Final = 2000
"""Characters of an author's name."""

_ADMIN_ONLY: Final = "only `DELETE /api/v1/items/{item_id}` may say this; posting the whole item brings it back"


class _Act(msgspec.Struct, kw_only=True, frozen=True):
    """What a user did, in the words of one route; checked here, the stamps and ids once more as an event."""

    user_id: Id
    recommendation_id: Text | None = None


class Watch(_Act, kw_only=True, frozen=True):
    """How much of an item was watched."""

    item_id: Id
    watched_s: float
    total_s: Annotated[float, Meta(gt=0)]

    def acted(self) -> Fields:
        """Return the share watched as a value from 0 to 1."""
        return {"action": "watch", "item_id": self.item_id, "value": min(max(self.watched_s / self.total_s, 0.0), 1.0)}


class Search(_Act, kw_only=True, frozen=True):
    """What was looked for."""

    query: Annotated[str, Meta(min_length=1, max_length=2000)]

    def acted(self) -> Fields:
        """Return the one action without an item."""
        return {"action": "search", "item_id": None, "context": {"query": self.query}}


class Rating(_Act, kw_only=True, frozen=True):
    """How an item was rated, on the scale of all ratings."""

    item_id: Id
    rating: float

    def acted(self) -> Fields:
        """Return the rating as it is."""
        return {"action": "rating", "item_id": self.item_id, "value": self.rating}


class Favorite(_Act, kw_only=True, frozen=True):
    """Whether an item is among the user's favourites from now on."""

    item_id: Id
    favorite: bool

    def acted(self) -> Fields:
        """Return 1 for a favourite, -1 for one no longer."""
        return {"action": "favorite", "item_id": self.item_id, "value": 1.0 if self.favorite else -1.0}


def _act(shape: type[Watch | Search | Rating | Favorite], given: Fields) -> Fields:
    """Return the interaction that an act is."""
    stamps = {name: value for name, value in given.items() if name in STAMPED}
    body = {name: value for name, value in given.items() if name not in STAMPED}
    wrong, strange = _wrong_type(stamps, "interaction"), _strange(body, shape.__struct_fields__)
    try:
        act = msgspec.convert(body, shape)
    except msgspec.ValidationError:
        found = field_problems(body, shape, nul=spells_nul(msgspec.json.encode(body)))
        raise EventError("invalid_field", chain(wrong, found, _unknown(strange, shape.__struct_fields__))) from None
    if wrong or strange:
        raise EventError("invalid_field", chain(wrong, _unknown(strange, shape.__struct_fields__)))
    return {**stamps, "user_id": act.user_id, "recommendation_id": act.recommendation_id, **act.acted()}


def _known(form: type[BaseEvent], left_out: Mapping[str, str], given: Fields) -> Fields:
    """Return members as they are, if the form knows all of them.

    Parameters
    ----------
    form
        Of the event.
    left_out
        Members that the form has and the route does not take, and why.
    given
        What was posted.
    """
    allowed = set(form.__struct_fields__) - left_out.keys() | {"type"}
    refused = [(name, why) for name, why in left_out.items() if name in given]
    wrong = [*refused, *_wrong_type(given, str(form.__struct_config__.tag))]
    strange = [name for name in _strange(given, allowed) if name not in left_out]
    if wrong or strange:
        raise EventError("invalid_field", chain(wrong, _unknown(strange, allowed)))
    return given


def _strange(given: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """Return the members that are not among the known ones, in their order."""
    return [name for name in given if name not in known]


def _unknown(strange: Collection[str], known: Collection[str]) -> Iterator[Problem]:
    """Yield a problem for each unknown member; likenesses, which take long to find, of those that may be named."""
    for place, name in enumerate(strange):
        yield name, _advice(name, known) if place < MOST_NAMED else "unknown member"


def _advice(name: str, known: Collection[str]) -> str:
    near = nearest_member(name, known)
    return "unknown member" + (f"; did you mean `{near}`?" if near else f"; known are {', '.join(sorted(known))}")


def _wrong_type(given: Mapping[str, Any], expected: str) -> list[Problem]:
    said = given.get("type", expected)
    return [] if said == expected else [("type", f"{said!r:.80}; this route takes {expected!r} only")]


def _patched(read: Callable[[Fields], Fields], id_name: str, id_: str, given: Fields) -> Fields:
    """Return a partial version of the item or user that the path names."""
    problems = [(name, "stands in the path of a patch, or follows from it") for name in (id_name, "partial")]
    if problems := [problem for problem in problems if problem[0] in given]:
        raise EventError("invalid_field", problems)
    return {**read(given), id_name: id_, "partial": True}


def _with_author(read: Callable[[Fields], Fields], given: Fields) -> Fields:
    """Return members in which `author`, which people write beside `title`, stands among the attributes."""
    if "author" not in given:
        return read(given)
    author, rest = given["author"], {name: value for name, value in given.items() if name != "author"}
    fields, attributes = read(rest), rest.get("attributes", {})
    if problem := _author_problem(author, attributes):
        raise EventError("invalid_field", [("author", problem)])
    if isinstance(attributes, dict):
        fields = {**fields, "attributes": {**attributes, "author": author}}
    return fields


def _author_problem(author: Any, attributes: Any) -> str | None:
    names = author if isinstance(author, list) else [author]
    if author is not None and not all(isinstance(name, str) and len(name) <= MAX_AUTHOR for name in names):
        return f"expected text of at most {MAX_AUTHOR} characters, an array of such, or null"
    if isinstance(attributes, dict) and attributes.get("author", author) != author:
        return "`attributes` names another `author`; say it once"
    return None


def _renamed(given: Fields) -> Fields:
    """Return an event as it travels from one that says `event_type` and `timestamp`.

    An `event_type` that is no type of event is what the user did; a number as `timestamp` counts seconds since 1970
    UTC, from 100,000,000,000 on milliseconds.
    """
    fields = {name: value for name, value in given.items() if name not in OTHER_NAMES}
    if "event_type" in given:
        said = given["event_type"]
        fields = _added(fields, "type" if isinstance(said, str) and said in EVENT_TYPES else "action", said)
    if given.get("timestamp") is not None:
        fields = _added(fields, "occurred_at", _instant(given["timestamp"]))
    return fields


def _added(fields: Fields, name: str, value: Any) -> Fields:
    if name in fields and fields[name] != value:
        raise EventError(
            "invalid_field", [(name, f"{' and '.join(OTHER_NAMES)} say the same by other names; say it once")]
        )
    return {**fields, name: value}


def _instant(given: Any) -> Any:
    """Return a number as RFC 3339, anything else as it is."""
    if not isinstance(given, int | float) or isinstance(given, bool):
        return given
    try:
        seconds = given / 1000 if abs(given) >= _MILLISECONDS_FROM else given
        return (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except (OverflowError, ValueError):
        raise EventError("invalid_field", [("timestamp", "is no instant between the years 1 and 9999")]) from None


_item: Final = partial(_with_author, partial(_known, Item, {"deleted": _ADMIN_ONLY}))
_user: Final = partial(_known, User, {})

OTHER_EVENTS: Final = Form(_renamed, "events")
"""Events as other recommenders' clients write them."""
WATCH: Final = Form(partial(_act, Watch))
SEARCH: Final = Form(partial(_act, Search))
RATING: Final = Form(partial(_act, Rating))
FAVORITE: Final = Form(partial(_act, Favorite))
FEEDBACK: Final = Form(partial(_known, Feedback, {}), "feedback", "feedback")
ITEMS: Final = Form(_item, "items", "item")
USERS: Final = Form(_user, "users", "user")


def item_patch(item_id: str) -> Form:
    """Return the form of a change to one item."""
    return Form(partial(_patched, _item, "item_id", item_id), type="item")


def user_patch(user_id: str) -> Form:
    """Return the form of a change to one user."""
    return Form(partial(_patched, _user, "user_id", user_id), type="user")


def item_deletion(item_id: str) -> Form:
    """Return the form of the end of one item; its body says no more than stamps."""

    def fields(given: Fields) -> Fields:
        if strange := _strange(given, STAMPED):
            raise EventError("invalid_field", _unknown(strange, STAMPED))
        return {**given, "item_id": item_id, "partial": True, "deleted": True}

    return Form(fields, type="item")
