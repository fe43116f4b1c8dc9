"""What a server's limits mean for a pool. Asked of a real server in test_drivers_postgresql.py."""

from __future__ import annotations

import pytest

from tonnage.db.pooling.serverlimits import ServerLimits, allowed, read, read_mongodb, statement

#: As PostgreSQL is installed, with nobody connected but who asks.
USUAL = ServerLimits(max_connections=100, reserved=3, in_use=1)


def test_what_a_server_allows_is_left_as_it_is() -> None:
    """Without a word."""
    assert allowed(USUAL, wanted=5, workers=4) == (5, [])
    assert allowed(USUAL, wanted=97) == (97, [])


def test_pools_that_would_be_too_large_are_made_smaller() -> None:
    """All workers' together; and it is said what to write."""
    small = ServerLimits(max_connections=20, reserved=3, in_use=1)
    limit, warnings = allowed(small, wanted=5, workers=4)
    assert limit == 4
    assert warnings == [
        "too many connections: the database allows 17 (max_connections 20, 3 of them reserved), 4"
        " workers with 5 each would be more: it is 4 now; write connection_limit=4 in DATABASE_URL,"
        " or let the server allow more"
    ]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            ServerLimits(max_connections=100, role_limit=6, in_use=1),
            "allows 6 (CONNECTION LIMIT of the user)",
        ),
        (
            ServerLimits(max_connections=100, database_limit=6, in_use=1),
            "allows 6 (CONNECTION LIMIT of the database)",
        ),
        (ServerLimits(max_connections=6, role_limit=50, in_use=1), "allows 6 (max_connections 6)"),
    ],
)
def test_the_lowest_limit_counts(found: ServerLimits, said: str) -> None:
    """Of the server, the user and the database; the warning says which."""
    limit, warnings = allowed(found, wanted=5, workers=2)
    assert limit == 3
    assert len(warnings) == 1
    assert said in warnings[0]


@pytest.mark.parametrize("usable", [0, 1, 3])
def test_each_worker_needs_one(usable: int) -> None:
    """Then it is for people to change something."""
    found = ServerLimits(max_connections=usable + 3, reserved=3, in_use=1)
    limit, warnings = allowed(found, wanted=5, workers=4)
    assert limit == 1
    assert "4 workers need one each at least; have fewer workers" in warnings[0]


def test_it_is_told_when_others_have_most() -> None:
    """Not divided: they may leave. One of those in use is who asks."""
    limit, warnings = allowed(ServerLimits(max_connections=100, reserved=3, in_use=94), wanted=5)
    assert limit == 5
    assert warnings == [
        "too many connections: 94 of the 97 that the database allows are in use, so that 5 cannot"
        " be opened now; write connection_limit=4 in DATABASE_URL, or close what others have open"
    ]
    assert allowed(ServerLimits(max_connections=100, reserved=3, in_use=93), wanted=5) == (5, [])


@pytest.mark.parametrize("wanted", [1, 5, 50])
@pytest.mark.parametrize("workers", [1, 4, 30])
@pytest.mark.parametrize("most", [0, 1, 20, 100])
def test_never_more_than_allowed_and_never_none(wanted: int, workers: int, most: int) -> None:
    """And never more than was wanted."""
    limit, warnings = allowed(ServerLimits(max_connections=most), wanted, workers)
    assert 1 <= limit <= wanted
    assert limit * workers <= most or (limit == 1 and warnings)


def test_a_row_is_read() -> None:
    """-1 is no limit; drivers may give numbers as text."""
    assert read((100, 3, 2, -1, 40, 7)) == ServerLimits(
        max_connections=100, reserved=5, role_limit=None, database_limit=40, in_use=7
    )
    assert read(("151", "0", 0, "10", -1, "1")).usable == 10
    assert statement("sqlite") is None
    assert "max_connections" in str(statement("mysql"))


def test_mongodbs_answer_is_read() -> None:
    """It says how many there are, and how many may come."""
    status = {"connections": {"current": 12, "available": 488, "totalCreated": 90}}
    assert read_mongodb(status) == ServerLimits(max_connections=500, in_use=12)
