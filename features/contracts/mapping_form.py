"""The form of the file that maps other services' topics; `mappings.yaml` beside it explains each part."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import yaml
from msgspec import UNSET, Meta, UnsetType

from features.contracts.errors import ContractError

Time = Literal["any", "rfc3339", "epoch_s", "epoch_ms"]
FieldPath = Annotated[str, Meta(min_length=1, pattern=r"\A[^.\s]+(\.[^.\s]+)*\Z")]
"""A field of a message, or with dots one inside its objects."""
TopicName = Annotated[str, Meta(pattern=r"\A[a-zA-Z0-9._-]{1,245}\Z")]
"""What Kafka takes as a name, and leaves room for the dead letters' suffix."""


class MappingError(ContractError):
    """The file of mappings cannot be used: the message names file, topic and place."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a member's value comes from: one of `field`, `constant`, `share`, `object`."""

    field: FieldPath | UnsetType = UNSET
    constant: Any = UNSET
    share: tuple[FieldPath, FieldPath] | UnsetType = UNSET
    object: dict[str, FieldPath] | UnsetType = UNSET
    choices: Annotated[dict[str, Any], Meta(min_length=1)] | UnsetType = UNSET
    time: Time | UnsetType = UNSET
    optional: bool = False

    def __post_init__(self) -> None:
        """Check that the parts belong together."""
        kinds = [name for name in ("field", "constant", "share", "object") if getattr(self, name) is not UNSET]
        if len(kinds) != 1:
            raise ValueError(f"names {' and '.join(kinds) or 'none'}; expected one of field, constant, share, object")
        if self.field is UNSET and (self.choices is not UNSET or self.time is not UNSET or self.optional):
            raise ValueError(f"choices, time and optional go with field, not with {kinds[0]}")


class DerivedId(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields from which an event id is derived."""

    derived_from: Annotated[tuple[FieldPath, ...], Meta(min_length=1)]


class TopicForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How messages of one topic become events."""

    event: Literal["interaction", "impression", "item", "user", "feedback"]
    event_id: FieldPath | DerivedId
    members: dict[str, Any]
    """Each a field's path or a `Source`; see `source_of`."""


def source_of(member: str, said: object) -> Source:
    """Return where a member's value comes from.

    Raises
    ------
    MappingError
        Naming the member, if this is no source.
    """
    try:
        source = msgspec.convert(said, FieldPath | Source)
        return Source(field=source) if isinstance(source, str) else source
    except msgspec.ValidationError as error:
        raise MappingError(f"members.{member}: {said!r:.200}: {error}") from None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    topics: dict[str, Any]


class _Loader(yaml.SafeLoader):
    """YAML without tags, in which no key may stand twice: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  # as the library calls it
        """Return a mapping's content."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


SHIPPED: Final = Path(__file__).with_name("mappings.yaml")


def read_forms(path: Path) -> dict[str, TopicForm]:
    """Return what a file says of each topic.

    Raises
    ------
    MappingError
        If it cannot be read or has another form.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  # derived from the safe loader
        topics = msgspec.convert(content, _File).topics
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise MappingError(f"{path}: {error}; expected YAML with `topics`, as the shipped mappings.yaml") from error
    return {_topic_name(path, topic): _topic_form(path, topic, form) for topic, form in topics.items()}


def _topic_name(path: Path, topic: str) -> str:
    try:
        return msgspec.convert(topic, TopicName)
    except msgspec.ValidationError:
        raise MappingError(f"{path}: topic {topic!r:.300}: no name that Kafka takes") from None


def _topic_form(path: Path, topic: str, form: object) -> TopicForm:
    try:
        return msgspec.convert(form, TopicForm)
    except msgspec.ValidationError as error:
        raise MappingError(f"{path}: topic {topic}: {error}") from None
