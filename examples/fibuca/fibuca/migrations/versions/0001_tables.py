"""Members, their photos and their applications."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "members",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 100"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "photos",
        sa.Column(
            "number",
            sa.Integer,
            sa.ForeignKey("members.number", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("length(type) BETWEEN 1 AND 20"),
        sa.CheckConstraint("size_bytes > 0"),
    )
    op.create_table(
        "applications",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "number",
            sa.Integer,
            sa.ForeignKey("members.number", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("statement", sa.String(4000), nullable=False),
        sa.CheckConstraint("kind IN ('single', 'family', 'youth')"),
        sa.CheckConstraint("length(statement) BETWEEN 1 AND 4000"),
    )
    op.create_index("applications_of_a_member", "applications", ["number", "id"])


def downgrade() -> None:
    """Drop them again, with all that is in them."""
    for name in ("applications", "photos", "members"):
        op.drop_table(name)
