"""What a database's schema is, as text that can be compared and read."""

from typing import Any, Final

import psycopg

_COLUMNS: Final = """
SELECT table_name, column_name, data_type || coalesce(' of ' || nullif(udt_name, ''), ''), is_nullable,
    coalesce(column_default, ''), coalesce(collation_name, '')
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position
"""
_INDEXES: Final = "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"
_CONSTRAINTS: Final = """
SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 2
"""


def describe_schema(connection: psycopg.Connection[tuple[Any, ...]]) -> str:
    """Return columns, indexes and constraints of the schema `public`, one a line."""
    lines: list[str] = []
    for title, query in (("columns", _COLUMNS), ("indexes", _INDEXES), ("constraints", _CONSTRAINTS)):
        lines.append(f"# {title}")
        lines += [" | ".join(map(str, row)) for row in connection.execute(query).fetchall()]
    return "\n".join(lines) + "\n"
