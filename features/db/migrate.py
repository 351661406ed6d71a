"""Bringing the schema up to date."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from features.contracts.errors import UnavailableError
from features.settings import Settings

MIGRATIONS: Final = Path(__file__).with_name("migrations")


def migrate(settings: Settings) -> str:
    """Return the revision that the database has after all pending migrations ran; safe to repeat, and to run twice.

    Raises
    ------
    UnavailableError
        If the database cannot be reached, or another session holds a table for longer than the lock timeout.
    """
    config = alembic_config(settings)
    try:
        command.upgrade(config, "head")
    except OperationalError as error:
        raise UnavailableError(f"migration stopped, nothing was changed: {error.orig}. Run it again later.") from error
    return str(ScriptDirectory.from_config(config).get_current_head())


def alembic_config(settings: Settings) -> Config:
    """Return what Alembic needs to know: where the migrations lie, and the database."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["url"] = make_url(settings.database_url.get_secret_value()).set(drivername="postgresql+psycopg")
    return config
