"""Made data, the same each time: a club of 500 with 3,000 applications, for the office to read.

Nobody has the keys of these members: no key has such a hash.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MEMBERS = 500
APPLICATIONS_OF_EACH = 6
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
FIRST_NAMES = ("Asha", "Bruno", "Chioma", "Dag", "Elif", "Farid", "Goro", "Hana", "Ines", "Jun")
LAST_NAMES = ("Abara", "Berg", "Costa", "Demir", "Eze", "Fuchs", "Garcia", "Haddad", "Ito")
KINDS = ("single", "family", "youth")

# The tables as they are after 0001, whatever becomes of them later.
members = sa.table(
    "members",
    sa.column("number", sa.Integer),
    sa.column("name", sa.String),
    sa.column("key_hash", sa.LargeBinary),
    sa.column("joined_at", sa.DateTime(timezone=True)),
)
applications = sa.table(
    "applications",
    sa.column("number", sa.Integer),
    sa.column("kind", sa.String),
    sa.column("sent_at", sa.DateTime(timezone=True)),
    sa.column("statement", sa.String),
)


def upgrade() -> None:
    """Insert it."""
    op.bulk_insert(members, [_member(n) for n in range(MEMBERS)])
    numbers = op.get_bind().scalars(_made().order_by(members.c.number)).all()
    for n, number in enumerate(numbers):
        op.bulk_insert(
            applications, [_application(n, number, each) for each in range(APPLICATIONS_OF_EACH)]
        )
    # So that queries are planned by how many rows there are now.
    op.execute("ANALYZE")


def downgrade() -> None:
    """Delete it, and nothing else."""
    op.execute(sa.delete(applications).where(applications.c.number.in_(_made())))
    op.execute(sa.delete(members).where(members.c.key_hash.in_(_hashes())))


def _made() -> sa.Select[Any]:
    return sa.select(members.c.number).where(members.c.key_hash.in_(_hashes()))


def _hashes() -> list[bytes]:
    return [_hash(n) for n in range(MEMBERS)]


def _hash(n: int) -> bytes:
    return f"made {n}".encode().ljust(32, b"\0")


def _member(n: int) -> dict[str, Any]:
    return {
        "name": f"{FIRST_NAMES[n % 10]} {LAST_NAMES[n * 7 % 9]}",
        "key_hash": _hash(n),
        "joined_at": FIRST_DAY + timedelta(hours=17 * n),
    }


def _application(n: int, number: int, each: int) -> dict[str, Any]:
    kind = KINDS[(n + each) % 3]
    return {
        "number": number,
        "kind": kind,
        "sent_at": FIRST_DAY + timedelta(hours=17 * n, days=30 * each),
        "statement": f"I ask for a {kind} membership. " + " ".join(_reasons(n + 13 * each)),
    }


def _reasons(n: int) -> list[str]:
    """Return some 2,400 characters."""
    return [
        f"In {2010 + year} I came to {3 + n * year % 40} evenings, helped at {1 + (n + year) % 9}"
        f" of them to set up the hall, and walked {20 + n * year % 380} km with the others on"
        f" Sundays; {4 + (n + 3 * year) % 20} of us would like to go on with that."
        for year in range(15)
    ]
