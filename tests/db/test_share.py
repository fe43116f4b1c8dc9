"""How pools of one process divide the connections that it may have."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from tests.support.forking import fork, status_of

from tonnage.db import settings
from tonnage.db.pooling.serverlimits import Place, ServerLimits
from tonnage.db.pooling.share import join


@pytest.fixture(autouse=True)
def seven() -> Iterator[None]:
    """A worker may have seven, in all pools without a limit together."""
    # What other tests have left behind is for them.
    gc.collect()
    settings.use_share(7)
    yield
    settings.use_share(None)


def test_one_pool_has_all() -> None:
    """As most applications have one."""
    assert join("database").limit() == 7


def test_pools_divide_the_share() -> None:
    """To the last connection, whoever asks first; and none more."""
    members = [join(name) for name in "abc"]
    assert [member.limit() for member in members] == [2, 2, 3]
    # What was told stays so.
    assert [member.limit() for member in reversed(members)] == [3, 2, 2]


def test_a_limit_of_its_own_is_kept() -> None:
    """It has no part of what the others share."""
    mine, others = join("mine", 50), join("others")
    assert (mine.limit(), others.limit()) == (50, 7)


def test_a_pool_that_comes_late_gets_of_what_is_left() -> None:
    """One connection at least, since none would be no pool."""
    first = join("first")
    assert first.limit() == 7
    late, later = join("late"), join("later")
    assert (late.limit(), later.limit(), first.limit()) == (1, 1, 7)


def test_a_pool_that_ends_gives_its_part_back() -> None:
    """Closed or forgotten."""
    closed, forgotten, stays = join("closed"), join("forgotten"), join("stays")
    assert closed.limit() == 2
    closed.leave()
    del forgotten
    gc.collect()
    assert stays.limit() == 7


def test_before_it_is_used_a_pool_says_what_it_would_get() -> None:
    """And that decides nothing."""
    members = [join(name) for name in "abc"]
    assert [member.planned() for member in members] == [2, 2, 2]
    assert [member.limit() for member in members] == [2, 2, 3]


SMALL = ServerLimits(max_connections=9)
HERE = Place("postgresql db", "a /shop")


def test_pools_at_one_server_are_no_more_than_it_allows() -> None:
    """Together, also those with a limit of their own and those that are not used yet."""
    members = [join("mine", 5, HERE), join("others", 5, HERE), join("shared", None, HERE)]
    elsewhere = join("elsewhere", 50, Place("postgresql other", "a /shop"))
    assert [member.settle(SMALL)[0] for member in members] == [3, 3, 3]
    assert elsewhere.settle(ServerLimits(max_connections=100)) == (50, [])
    # One that is closed gives its part back, until it is used again.
    members[0].leave()
    members[1].leave()
    assert members[1].settle(SMALL)[0] == 5
    assert members[0].settle(SMALL)[0] == 1


def test_a_limit_of_a_user_is_for_his_pools() -> None:
    """Not for those of others at the same server."""
    joe, ann = join("joe", 5, HERE), join("ann", 50, Place(HERE.server, "b /shop"))
    assert ann.settle(ServerLimits(max_connections=100)) == (50, [])
    assert joe.settle(ServerLimits(max_connections=100, role_limit=6)) == (5, [])


def test_more_pools_than_the_budget_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection for each is more than was allowed."""
    monkeypatch.setenv("TONNAGE_DATABASE_CONNECTIONS", "4")

    def story() -> None:
        settings.use_share(1, workers=4)
        first = join("first")
        assert first.settle(None) == (1, [])
        members = [join(name) for name in "abc"]
        (warning,) = members[0].settle(None)[1]
        assert warning.startswith(
            "too many pools: each needs one connection at least, and 4 pools in 4 workers may open"
            " 16, which is more than --database-connections 4: "
        )
        assert members[1].settle(None) == (1, [])

    # Once in a process, and this one may have said it already.
    assert status_of(fork(story)) == 0


def test_a_forked_child_divides_anew() -> None:
    """What the parent was told held for the process that imported the application."""
    member = join("database")
    assert member.limit() == 7

    def story() -> None:
        settings.use_share(3)
        assert member.limit() == 3

    assert status_of(fork(story)) == 0
    assert member.limit() == 7
