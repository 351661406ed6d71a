"""Ids in paths: any text, slashes and line ends included, exactly as it was sent."""

from typing import Final

from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Match
from starlette.types import Scope


class IdConvertor(Convertor[str]):
    """Takes everything up to what follows in the template.

    Starlette's own `path` stops at line ends, and drops one at the end: "u1" would answer for "u1" and a line end.
    """

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        """Return the id."""
        return value

    def to_string(self, value: str) -> str:
        """Return the id."""
        return value


class LastSegment(APIRoute):
    """A route whose last segment is meant where it was sent as such: an id may end in the same letters, escaped.

    `/items/x%2Fsimilar` is the item `x/similar`, `/items/x/similar` what is similar to `x`. Routes see both unescaped.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether a path is this route's."""
        last = self.path_format.rpartition("/")[2].encode()
        sent = scope.get("raw_path") or scope["path"].encode()
        return super().matches(scope) if sent.rpartition(b"/")[2] == last else (Match.NONE, {})


ANY: Final = "any"
"""The convertor's name in path templates."""

register_url_convertor(ANY, IdConvertor())
