"""How deep JSON is nested: what goes deeper than any honest event does would meet the end of somebody's stack."""

from typing import Any, Final

MAX_DEPTH: Final = 32
"""Nesting of objects and arrays; honest bodies have five levels, and recursive code is safe at this depth."""


def depth_of(data: Any) -> int:
    """Return how many levels of objects and arrays lie in one another; found without recursion.

    >>> depth_of(7), depth_of([]), depth_of({"a": [1, {"b": 2}]})
    (0, 1, 3)
    """
    level, depth = [data], 0
    while nested := [part for part in level if isinstance(part, dict | list)]:
        level = [child for part in nested for child in (part.values() if isinstance(part, dict) else part)]
        depth += 1
    return depth


def may_be_deep(raw: bytes) -> bool:
    """Return whether JSON has as many brackets as `MAX_DEPTH` levels need: a look that costs next to nothing."""
    return raw.count(b"{") + raw.count(b"[") >= MAX_DEPTH


def told_deep(levels: int) -> str:
    """Return what is wrong with what is nested so deep."""
    return f"nested {levels} levels deep; at most {MAX_DEPTH} are taken"
