"""The named SQL of `sql/*.sql`, loaded once: for connections and for the async pool."""

from pathlib import Path
from typing import Any, Final

import aiosql

SQL: Final = Path(__file__).with_name("sql")

queries: Final[Any] = aiosql.from_path(SQL, "psycopg")
"""Each query as a function of a connection and keyword parameters; `.sql` is its text."""
async_queries: Final[Any] = aiosql.from_path(SQL, "apsycopg")
"""The same for async connections."""
