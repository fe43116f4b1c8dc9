"""Events, revenue, sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("game", sa.String(60), nullable=False),
        sa.Column("player", sa.String(60), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("properties", sa.JSON),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 60"),
    )
    op.create_index("events_of_a_day", "events", ["game", "at"])
    op.create_table(
        "revenue",
        sa.Column("purchase", sa.String(80), primary_key=True),
        sa.Column("game", sa.String(60), nullable=False),
        sa.Column("player", sa.String(60), nullable=False),
        sa.Column("product", sa.String(60), nullable=False),
        sa.Column("cents", sa.Integer, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("length(purchase) BETWEEN 8 AND 80"),
        sa.CheckConstraint("length(product) BETWEEN 1 AND 60"),
        sa.CheckConstraint("length(currency) = 3"),
        sa.CheckConstraint("cents > 0"),
    )
    op.create_index("revenue_by_time", "revenue", ["game", "at", "purchase"])
    op.create_table(
        "sessions",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("duration_seconds", sa.Double),
        sa.Column("game", sa.String(60)),
        sa.Column("player", sa.String(60)),
    )
    is_open = sa.text("ended_at IS NULL")
    op.create_index(
        "sessions_open",
        "sessions",
        ["last_beat_at"],
        postgresql_where=is_open,
        sqlite_where=is_open,
    )
    op.create_index("sessions_of_a_day", "sessions", ["game", "started_at"])


def downgrade() -> None:
    """Drop them again, with all that is in them."""
    for name in ("sessions", "revenue", "events"):
        op.drop_table(name)
