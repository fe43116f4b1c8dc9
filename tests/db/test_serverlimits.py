"""What a server's limits mean for a pool. Asked of a real server in test_drivers_postgresql.py."""

from __future__ import annotations

import pytest

from tonnage.db.pooling.serverlimits import (
    Others,
    ServerLimits,
    allowed,
    place_of,
    read,
    statement,
)
from tonnage.db.urls import read_url

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


def test_all_pools_at_a_server_are_measured_together() -> None:
    """Those that have asked keep what they have; the others share what is left."""
    small = ServerLimits(max_connections=20, reserved=3, in_use=1)
    limits: list[int] = []
    _, (warning,) = allowed(small, 4, workers=2, others=Others(wanted=(4, 4, 4)))
    assert "2 workers with 16 in 4 pools each would be more: it is 2 now" in warning
    for number in range(4):
        others = Others(settled=tuple(limits), wanted=(4,) * (3 - number))
        limits.append(allowed(small, 4, workers=2, others=others)[0])
    assert limits == [2, 2, 2, 2]
    assert allowed(small, 4, 1, Others(wanted=(4, 4, 4))) == (4, [])


def test_what_a_small_pool_leaves_is_for_the_others() -> None:
    """To the last connection."""
    ten = ServerLimits(max_connections=10)
    assert allowed(ten, 20, others=Others(wanted=(2, 20)))[0] == 4
    assert allowed(ten, 2, others=Others(wanted=(20, 20))) == (2, [])
    assert allowed(ten, 20, others=Others(settled=(9,)))[0] == 1


def test_more_pools_than_connections_is_for_people_to_change() -> None:
    """Each needs one."""
    limit, warnings = allowed(
        ServerLimits(max_connections=5), 4, workers=2, others=Others((1, 1), (4,))
    )
    assert limit == 1
    assert "4 pools in each of 2 workers need one each at least" in warnings[0]


@pytest.mark.parametrize(
    ("url", "other", "are_one"),
    [
        ("postgresql://a:b@db/shop", "postgresql://a:b@DB/shop?connection_limit=4", True),
        ("postgresql://a@/shop?host=/run/one", "postgresql://a@/shop?host=/run/two", False),
        ("postgresql://a@db:5432/shop", "postgresql://a@db:5433/shop", False),
        ("postgresql://a@db/shop", "postgresql+asyncpg://b@db/other", True),
    ],
)
def test_a_server_is_known_by_its_address(url: str, other: str, *, are_one: bool) -> None:
    """Whoever asks, and whatever for."""
    servers = {place.server for each in (url, other) if (place := place_of(read_url(each)))}
    assert len(servers) == (1 if are_one else 2)
    assert place_of(read_url("sqlite:///a.db")) is None


def test_another_user_has_another_limit() -> None:
    """Where it is the user's limit that counts, only his pools do."""
    places = [place_of(read_url(f"postgresql://{who}@db/shop")) for who in "ab"]
    assert places[0] != places[1]
    assert ServerLimits(max_connections=100, role_limit=6).is_personal
    assert not ServerLimits(max_connections=100, reserved=3, role_limit=97).is_personal
