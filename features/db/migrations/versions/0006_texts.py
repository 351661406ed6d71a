"""Encoders, the vectors of items' texts, and the queue of items whose text changed."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and to `items` the hash of its text, which writes that table anew."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Take all of it away; nothing else knows of it."""
    for event, which in (("insert", "new"), ("update", "updated"), ("delete", "deleted")):
        op.execute(f"DROP TRIGGER items_text_{event} ON items")
        op.execute(f"DROP FUNCTION queue_{which}_texts()")
    for table in ("embedding_queue", "item_vectors", "encoder_files", "encoders"):
        op.drop_table(table)
    op.drop_column("items", "text_hash")
    op.execute("DROP FUNCTION text_hash")
