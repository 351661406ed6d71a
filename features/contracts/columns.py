"""Every column name of the frames that cross a boundary, written once: a misspelt column fails in the type checker."""

from typing import Final

USER: Final = "user_id"
ITEM: Final = "item_id"
OCCURRED_AT: Final = "occurred_at"
KNOWN_AT: Final = "known_at"
ACTION: Final = "action"
VALUE: Final = "value"
EVENT_ID: Final = "event_id"
RANK: Final = "rank"
SCORE: Final = "score"
SOURCE: Final = "source"
TITLE: Final = "title"
TEXT: Final = "text"
CATEGORIES: Final = "categories"
ATTRIBUTES: Final = "attributes"
PUBLISHED_AT: Final = "published_at"
