"""Ids in paths: any text, slashes and line ends included, exactly as it was sent."""

from typing import Final

from starlette.convertors import Convertor, register_url_convertor


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


ANY: Final = "any"
"""The convertor's name in path templates."""

register_url_convertor(ANY, IdConvertor())
