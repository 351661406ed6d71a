"""What item statistics know beside liking: all events, dislikes, strong actions and ratings; and events by action."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; the next refresh computes all rows anew."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Take the columns away; the next refresh of the older code computes all rows anew, by its own weights."""
    for column in ("seen", "disliked", "strong", "rating_count", "rating_sum"):
        op.drop_column("item_statistics", column)
    op.drop_column("statistics_progress", "events")
    op.execute("DELETE FROM statistics_progress")
