"""Moves of the alias are looked up by model and alias; trainings that operators ask for are noted."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_BEFORE = "action IN ('refresh', 'replay', 'erase', 'promote', 'rollback', 'reload')"


def upgrade() -> None:
    """Add the action and the index."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Take them away, and the entries that the older code does not know."""
    op.drop_index("audit_events_of_moves", "audit_events")
    op.drop_constraint("audit_events_action_check", "audit_events")
    op.execute("DELETE FROM audit_events WHERE action = 'train'")
    op.create_check_constraint("audit_events_action_check", "audit_events", _BEFORE)
