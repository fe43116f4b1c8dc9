"""Plans, activities, events, registrations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "plans",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(60), nullable=False, unique=True),
        sa.Column("cents_a_month", sa.Integer, nullable=False),
        sa.Column("visits_a_week", sa.Integer),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 60"),
        sa.CheckConstraint("cents_a_month >= 0"),
    )
    op.create_table(
        "activities",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(60), nullable=False, unique=True),
        sa.Column("minutes", sa.Integer, nullable=False),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 60"),
        sa.CheckConstraint("minutes BETWEEN 1 AND 600"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "activity_id",
            sa.Integer,
            sa.ForeignKey("activities.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("title", sa.String(120), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seats", sa.Integer, nullable=False),
        sa.Column("taken", sa.Integer, nullable=False, server_default="0"),
        sa.Column("description", sa.String(5000), nullable=False),
        sa.CheckConstraint("length(title) BETWEEN 1 AND 120"),
        sa.CheckConstraint("length(description) <= 5000"),
        sa.CheckConstraint("seats BETWEEN 1 AND 1000"),
        sa.CheckConstraint("taken BETWEEN 0 AND seats"),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_start", "events", ["starts_at", "id"])
    op.create_index("events_of_an_activity", "events", ["activity_id", "starts_at", "id"])
    op.create_table(
        "registrations",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "event_id", sa.Integer, sa.ForeignKey("events.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 60"),
        sa.CheckConstraint("length(email) BETWEEN 3 AND 254"),
        sa.UniqueConstraint("event_id", "email"),
    )


def downgrade() -> None:
    """Drop them again, with all that is in them."""
    for name in ("registrations", "events", "activities", "plans"):
        op.drop_table(name)
