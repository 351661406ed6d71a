"""Lists as they were served, to be looked at and computed again, and what operators did."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Take them away; nothing else knows of them."""
    op.drop_table("audit_events")
    op.drop_table("served_lists")
