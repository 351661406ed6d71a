"""When each item first came: the order in which items are listed."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, told by the versions that are there, and what listings read by."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Take it away; nothing else knows of it."""
    op.drop_index("items_by_category", "items")
    op.drop_column("items", "created_at")
