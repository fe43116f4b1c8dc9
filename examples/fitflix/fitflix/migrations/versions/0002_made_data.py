"""Made data: events of this year and of the next year's January, one each 24 minutes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op
from fitflix.clock import now

revision = "0002"
down_revision = "0001"

EVENTS = 24_000
AT_ONCE = 1000
COACHES = ("Ada", "Ben", "Chioma", "Dan", "Eva")
ACTIVITIES = {
    "Yoga": 60,
    "Spinning": 45,
    "Boxing": 60,
    "Pilates": 50,
    "Rowing": 30,
    "Climbing": 90,
    "Swimming": 45,
    "Strength": 60,
}
PLANS = (("Off-peak", 1990, 3), ("Standard", 2990, 5), ("Unlimited", 4490, None))

# The tables as they are after 0001, whatever becomes of them later.
plans = sa.table("plans", sa.column("name"), sa.column("cents_a_month"), sa.column("visits_a_week"))
activities = sa.table("activities", sa.column("id"), sa.column("name"), sa.column("minutes"))
events = sa.table(
    "events",
    sa.column("activity_id"),
    sa.column("title"),
    sa.column("starts_at", sa.DateTime(timezone=True)),
    sa.column("seats"),
    sa.column("description"),
)


def upgrade() -> None:
    """Insert it, some rows at a time."""
    op.bulk_insert(
        plans,
        [{"name": name, "cents_a_month": cents, "visits_a_week": n} for name, cents, n in PLANS],
    )
    op.bulk_insert(
        activities, [{"name": name, "minutes": minutes} for name, minutes in ACTIVITIES.items()]
    )
    found = op.get_bind().execute(sa.select(activities.c.name, activities.c.id))
    ids = {row.name: row.id for row in found}
    new_year = datetime(now().year, 1, 1, tzinfo=UTC)
    for first in range(0, EVENTS, AT_ONCE):
        numbers = range(first, first + AT_ONCE)
        op.bulk_insert(events, [_event(n, ids, new_year) for n in numbers])
    # So that queries are planned by how many rows there are now.
    op.execute("ANALYZE")


def downgrade() -> None:
    """Delete it, and what was made besides."""
    for table in (events, activities, plans):
        op.execute(sa.delete(table))


def _event(n: int, ids: dict[str, int], new_year: datetime) -> dict[str, Any]:
    activity = tuple(ACTIVITIES)[n * 3 % 8]
    return {
        "activity_id": ids[activity],
        "title": f"{activity} with {COACHES[n % 5]}",
        "starts_at": new_year + timedelta(minutes=24 * n),
        "seats": 8 + n * 7 % 25,
        "description": (
            f"We warm up for {5 + n % 7} minutes at {90 + n * 3 % 31} beats a minute, then go on in"
            f" {3 + n % 5} rounds of {4 + n * 11 % 9} minutes with {20 + n * 13 % 71} seconds"
            f" between them, and end with {4 + n * 5 % 8} minutes of stretching. Those who are new"
            f" do {1 + n % 3} rounds. About {150 + n * 17 % 601} kcal. Bring a towel,"
            f" {300 + n * 19 % 701} ml to drink, and shoes with clean soles; come {5 + n * 3 % 11}"
            f" minutes early, since the doors of room {1 + n * 23 % 40} close when it begins."
            f" Cannot come? Cancel by {8 + n % 13} o'clock the day before, so that somebody else"
            " can have the seat."
        ),
    }
