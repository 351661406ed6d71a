"""A partial version leaves nulls within attributes as they are."""

from pathlib import Path

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_BEFORE = """
CREATE OR REPLACE FUNCTION merge_version(state jsonb, partial boolean, fields jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN NOT partial THEN fields
    WHEN fields ? 'attributes' THEN state || fields || jsonb_build_object(
        'attributes', jsonb_strip_nulls(coalesce(state -> 'attributes', '{}') || (fields -> 'attributes'))
    )
    ELSE state || fields
END
"""


def upgrade() -> None:
    """Make the function anew."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Let it be what it was."""
    op.execute(_BEFORE)
