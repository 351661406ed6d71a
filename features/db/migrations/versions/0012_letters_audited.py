"""The audit holds who mended, replayed or discarded dead letters, and who deleted items."""

from pathlib import Path

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_BEFORE = "action IN ('refresh', 'replay', 'erase', 'promote', 'rollback', 'reload', 'train')"


def upgrade() -> None:
    """Add the actions."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Take them away, and the entries that the older code does not know."""
    op.drop_constraint("audit_events_action_check", "audit_events")
    op.execute("DELETE FROM audit_events WHERE action IN ('fix', 'discard', 'delete')")
    op.create_check_constraint("audit_events_action_check", "audit_events", _BEFORE)
