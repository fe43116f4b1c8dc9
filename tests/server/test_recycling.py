"""How a worker is replaced: in which order, by when, and what becomes of it if that fails.

Why one is replaced is in ``test_recycling_reasons``.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from tests.server.conftest import Said
from tests.server.recycling_house import DRAIN_SECONDS, START_SECONDS, TIGHT_MB, House
from tests.server.scene import KILLED, scene, sleepers

from tonnage.governor.recycle import Reason
from tonnage.server.messages import Failed
from tonnage.server.postmortem.facts import KillReason

pytestmark = pytest.mark.usefixtures("chatty")


@pytest.fixture
def house() -> Iterator[House]:
    """A crew of two, 100 s old."""
    with scene(House) as made:
        yield made


def test_nobody_is_replaced_without_a_reason(house: House) -> None:
    """However often it is looked at."""
    for _ in range(3):
        house.act()

    assert not house.recycler.is_busy
    assert house.crew.next_spawn_seconds() is None


def test_where_two_fit_the_successor_starts_first(house: House, said: Said) -> None:
    """The old one serves until then; then it finishes what it has begun."""
    assert house.recycler.want(1, Reason.ASKED)
    house.act()
    assert (house.workers(), house.replaced(), house.kinds(1)) == ([0, 1], [1], [])
    house.now_seconds += 0.25

    assert [member.index for member in house.start()] == [2]
    assert (house.workers(), house.kinds(1)) == ([0, 2], ["Stop"])
    house.dies(1)
    house.act()

    assert house.page.header.recycles == 1
    assert not house.recycler.is_busy
    assert house.crew.next_spawn_seconds() is None
    assert said().startswith("worker 1 (pid ")
    assert said().endswith(
        "6 MB of its own) is recycled: it was asked for; worker 2 was ready after 250 ms, "
        "0 B came free"
    )


def test_where_two_do_not_fit_the_old_one_drains_first(house: House, said: Said) -> None:
    """The place is free when it has gone; no second copy is made beside it."""
    house.free_mb = TIGHT_MB
    house.recycler.want(1, Reason.ASKED)
    house.act()

    assert house.kinds(1) == ["Stop"]
    assert house.crew.fill() == []
    house.dies(1)
    assert [member.index for member in house.start()] == [1]
    house.act()

    assert house.page.header.recycles == 1
    assert "after 0 ms (no room for two, so the old one drained first), " in said()


def test_no_second_copy_is_started_of_what_the_first_start_has_loaded(house: House) -> None:
    """A model of 250 MB, in each worker: two do not fit, although none was ever recycled."""
    house.ready(house.crew.members[1], own_mb=250)
    house.recycler.want(1, Reason.ASKED)
    house.act()

    assert house.kinds(1) == ["Stop"]


def test_what_a_second_worker_needs_is_learned(house: House) -> None:
    """From those that have started: these come to 40 MB, and half as much again for a moment."""
    house.free_mb = 40
    house.recycler.want(0, Reason.ASKED)
    house.act()
    assert house.replaced() == [0]
    (fresh,) = house.start()
    house.own(fresh.index, 34)
    house.dies(0)
    house.act()

    house.free_mb = 75
    house.recycler.want(1, Reason.ASKED)
    house.act()

    assert house.kinds(1) == ["Stop"]


def test_all_are_replaced_one_after_the_other(house: House) -> None:
    """Never two at a time."""
    assert house.recycler.want_all(Reason.ASKED) == 2

    house.replace(1, 2)
    house.replace(0, 1)

    house.act()
    assert not house.recycler.is_busy
    assert house.workers() == [1, 2]
    assert house.page.header.recycles == 2


def test_a_wish_does_not_pass_to_a_successor(house: House) -> None:
    """Of a worker that dies before its turn."""
    house.recycler.want(0, Reason.ASKED)
    house.dies(0, KILLED)
    house.start()

    house.act()

    assert not house.recycler.is_busy


def test_a_worker_that_still_starts_with_the_old_code_has_its_turn(house: House) -> None:
    """Once it serves: it was forked before the application was imported anew."""
    house.dies(0, KILLED)
    (young,) = house.crew.fill()
    assert house.recycler.want_all(Reason.NEW_CODE) == 2
    house.hello(young)
    house.ready(young)

    house.replace(1, 2)
    house.replace(0, 1)

    assert house.workers() == [1, 2]


@pytest.mark.parametrize("index", [2, 77, -1])
def test_who_is_not_there_cannot_be_replaced(house: House, index: int) -> None:
    """The caller learns of it."""
    assert not house.recycler.want(index, Reason.ASKED)


def test_who_leaves_already_need_not_be_replaced(house: House) -> None:
    """As all do when the server stops; and then nobody is."""
    house.crew.stop()

    assert house.recycler.want_all(Reason.ASKED) == 0
    house.act()
    assert not house.recycler.is_busy


def test_an_old_worker_that_does_not_finish_in_time_is_ended(said: Said) -> None:
    """Its report will say that it was we, and why."""
    with sleepers(2) as processes, scene(House, pids=[each.pid for each in processes]) as house:
        house.free_mb = TIGHT_MB
        house.recycler.want(0, Reason.ASKED)
        house.act()
        house.now_seconds += DRAIN_SECONDS - 0.1
        house.act()
        assert processes[0].poll() is None

        house.now_seconds += 0.1
        house.act()

        assert processes[0].wait(5.0) == -signal.SIGKILL
        assert processes[1].poll() is None
        killed = house.dies(0, KILLED).killed
        assert killed is not None
        assert killed.reason is KillReason.RECYCLE_DEADLINE
        house.start()
        house.act()
        assert house.page.header.recycles == 1
        assert "worker 0 has not finished in time: ending it" in said()


def test_the_time_to_drain_begins_when_the_successor_serves(house: House) -> None:
    """An application that takes long to start does not cost the old worker its time."""
    house.recycler.want(0, Reason.ASKED)
    house.act()
    (successor,) = house.crew.fill()
    house.now_seconds += DRAIN_SECONDS + 1
    house.act()
    house.hello(successor)
    house.ready(successor)
    house.now_seconds += DRAIN_SECONDS - 1

    house.act()

    assert house.crew.members[0].killed is None


def test_an_old_worker_goes_on_if_its_successor_does_not_come_up(house: House, said: Said) -> None:
    """Nothing was taken from it; whoever wanted it asks again, else it would never end."""
    for pause in (0.0, 0.0, 0.5):
        house.recycler.want(0, Reason.NEW_CODE)
        house.act()
        due = house.crew.next_spawn_seconds()
        assert due is not None
        assert max(0.0, due - house.now_seconds) == pause
        house.now_seconds += pause
        (successor,) = house.crew.fill()
        house.hello(successor)
        house.crew.heard(successor, Failed("no database"))
        house.dies(successor.index, 3 << 8)

        assert (house.workers(), house.replaced()) == ([0, 1], [])
        assert house.crew.next_spawn_seconds() is None
        house.act()
        assert not house.recycler.is_busy

    assert house.kinds(0) == []
    assert "since the application was imported anew; no successor came up, so it goes on" in said()


def test_another_that_starts_can_take_over_where_the_successor_failed(house: House) -> None:
    """Worker 1 has crashed meanwhile: whoever of the two comes up first serves."""
    house.recycler.want(0, Reason.ASKED)
    house.act()
    house.dies(1, KILLED)
    failed, other = house.crew.fill()
    house.dies(failed.index, 3 << 8)
    assert house.recycler.is_busy

    house.hello(other)
    house.ready(other)

    assert house.kinds(0) == ["Stop"]
    house.now_seconds += 10
    house.start()
    house.dies(0)
    house.act()
    assert house.crew.is_complete
    assert len(house.crew.members) == 2


def test_an_old_worker_that_dies_meanwhile_is_replaced_all_the_same(house: House) -> None:
    """Nobody is asked to end who is not there any more."""
    house.recycler.want(0, Reason.ASKED)
    house.act()
    (successor,) = house.crew.fill()
    house.dies(0, KILLED)

    house.hello(successor)
    house.ready(successor)
    house.act()

    assert house.page.header.recycles == 1
    assert house.workers() == [1, successor.index]


def test_a_successor_that_dies_has_a_successor(house: House) -> None:
    """The old one has been told to end; the crew starts another, which takes over."""
    house.recycler.want(0, Reason.ASKED)
    house.act()
    (successor,) = house.start()
    house.dies(successor.index, KILLED)
    house.now_seconds += 1
    house.dies(0)
    house.act()
    assert house.page.header.recycles == 0

    house.start()
    house.act()

    assert house.page.header.recycles == 1
    assert len(house.workers()) == 2


def test_a_replacement_whose_successor_never_comes_is_given_up(house: House, said: Said) -> None:
    """The crew goes on trying; the others can be recycled again."""
    house.free_mb = TIGHT_MB
    house.recycler.want(0, Reason.ASKED)
    house.act()
    house.dies(0)
    house.can_spawn = False
    house.crew.fill()

    house.now_seconds += DRAIN_SECONDS + 2 * START_SECONDS + 0.1
    house.act()

    assert not house.recycler.is_busy
    assert said().endswith(
        "worker 0 has ended to be recycled, since it was asked for, and after 150 s no successor "
        "has come up: others can be recycled again, and starting one is tried further"
    )
