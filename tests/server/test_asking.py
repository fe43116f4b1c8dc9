"""Who is asked for memory, and when again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.server.scene import Scene, scene

from tonnage.governor.levels import Level
from tonnage.server.asking import Asking
from tonnage.server.crew import Member


@pytest.fixture
def server() -> Iterator[Scene]:
    """Two workers that serve."""
    with scene(Scene) as made:
        made.start()
        made.messages(0)
        yield made


def test_a_worker_is_asked_again_once_it_has_answered(server: Scene) -> None:
    """Or for a worse level, which calls for more; the answer to come will do for both."""
    asking, member = Asking(server.clock), server.crew.members[0]

    assert asking.ask(member, Level.WARNING, 5, "WARNING")
    assert asking.ask(member, Level.OK, 0, "it grows")
    assert [each.why for each in server.messages(0)] == ["WARNING"]

    assert asking.ask(member, Level.CRITICAL, 9, "CRITICAL")
    assert asking.ask(member, Level.WARNING, 5, "WARNING")
    assert [each.why for each in server.messages(0)] == ["CRITICAL"]

    asking.settle(member)
    assert asking.ask(member, Level.OK, 0, "it grows")
    assert [each.why for each in server.messages(0)] == ["it grows"]


def test_an_answer_is_not_awaited_for_ever(server: Scene) -> None:
    """It may have been lost; nor is it the duty of a successor."""
    asking, member = Asking(server.clock), server.crew.members[0]
    asking.ask(member, Level.WARNING, 5, "WARNING")

    server.now_seconds += 60
    assert asking.ask(member, Level.WARNING, 5, "again")
    successor = Member(0, member.channel, server.now_seconds, pid=4711)
    assert asking.ask(successor, Level.WARNING, 5, "successor")
    assert [each.why for each in server.messages(0)] == ["WARNING", "again", "successor"]


def test_a_worker_that_cannot_be_told_is_not_awaited(server: Scene) -> None:
    """Its end of the channel is closed."""
    server.ends[0].close()
    asking, member = Asking(server.clock), server.crew.members[0]

    assert not asking.ask(member, Level.WARNING, 5, "WARNING")
    assert not asking.ask(member, Level.WARNING, 5, "WARNING")
