"""How pools of one process divide the connections that it may have."""

from __future__ import annotations

import gc
import os

import pytest

from tonnage.db import settings
from tonnage.db.pooling.share import join


@pytest.fixture(autouse=True)
def seven(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker may have seven, in all pools without a limit together."""
    # What other tests have left behind is for them.
    gc.collect()
    monkeypatch.setattr(settings, "_share", 7)


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


def test_a_forked_child_divides_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the parent was told held for the process that imported the application."""
    member = join("database")
    assert member.limit() == 7
    child = os.fork()
    if child == 0:  # pragma: no cover
        settings.use_share(3)
        os._exit(member.limit())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert member.limit() == 7
