"""The index by which histories are read holds all that they are made of."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace the index, and have new rows vacuumed sooner."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Go back to the index that only finds rows."""
    op.drop_index("interactions_of_user", "interactions")
    op.execute(
        "CREATE INDEX interactions_of_user ON interactions (user_id, least(occurred_at, known_at) DESC, event_id DESC)"
    )
    op.execute("ALTER TABLE interactions RESET (autovacuum_vacuum_insert_scale_factor)")
