"""Why a worker is replaced, and when that is given up: reasons as the recycler gathers them.

The choice itself is in ``tests/governor/test_recycle.py``, the replacing in ``test_recycling``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.server.conftest import Said
from tests.server.recycling_house import CALM, STUCK, House
from tests.server.scene import scene

from tonnage.governor.recycle import GIVEN_UP_SECONDS, Reason
from tonnage.ops.alertpolicy import RECYCLING_GAVE_UP
from tonnage.units import MIB

pytestmark = pytest.mark.usefixtures("chatty")


@pytest.fixture
def house() -> Iterator[House]:
    """A crew of two, 100 s old."""
    with scene(House) as made:
        yield made


def test_a_worker_that_is_traced_is_spared(house: House) -> None:
    """As long as somebody needs it as it is."""
    house.spared = 0
    house.recycler.want(0, Reason.ASKED)
    house.act()
    assert not house.recycler.is_busy

    house.spared = None
    house.act()
    assert house.replaced() == [0]


def test_what_requests_hold_is_explained(house: House) -> None:
    """The worker goes whose memory nothing running explains, though another has more."""
    house.situation = STUCK
    house.own(0, 200)
    house.own(1, 90)
    house.page.slots[0].taken_bytes = 180 * MIB

    house.act()

    assert house.replaced() == [1]


def test_what_the_startup_has_loaded_is_explained(house: House) -> None:
    """A successor would load the same model; so it is no reason, and what came since is one."""
    house.situation = STUCK
    house.page.slots[0].rolled_up_private_bytes = house.page.slots[0].baseline_bytes + 200 * MIB
    house.recycler.heard_ready(house.crew.members[0])
    house.own(0, 200)
    house.act()
    assert house.replaced() == []

    house.own(0, 290)
    house.act()
    assert house.replaced() == [0]


def test_what_a_collection_brings_back_is_no_reason(house: House) -> None:
    """The worker goes that holds most after its collection."""
    house.situation = STUCK
    house.own(0, 200)
    house.own(1, 90)
    house.collected_mb = {0: 20, 1: 90}

    house.act()

    assert house.replaced() == [1]


def test_a_leak_is_recycled(house: House, said: Said) -> None:
    """When it has taken its share of the room."""
    house.own(0, 160)
    house.leaks[0] = 1.0
    house.replace(0, 2)

    assert "166 MB of its own) is recycled: it leaks; worker 2 was ready after " in said()
    assert said().endswith("160 MB came free")


def test_no_recycle_leaves_memory_to_itself() -> None:
    """What the user has set is done all the same, also by a worker that is stuck."""
    with scene(House, recycle=False, max_requests=10) as house:
        house.situation = STUCK
        house.own(0, 300)
        house.act()
        assert not house.recycler.is_busy

        house.page.slots[0].requests = 10
        house.act()

        assert house.replaced() == [0]


def recycle_in_vain(house: House) -> None:
    """Replace worker 0 or 2 for its memory; the new one holds as much at once."""
    for slot in house.page.live_slots():
        house.own(slot.index, 100)
    house.act()
    (old,) = house.replaced()
    (fresh,) = house.start()
    house.own(fresh.index, 100)
    house.dies(old)
    house.act()
    house.own(fresh.index, 100)
    house.now_seconds += 20


def test_three_in_vain_and_one_worker_less(house: House, said: Said) -> None:
    """It is said, and it is told to people; then there is peace for ten minutes."""
    house.situation = STUCK
    for _ in range(3):
        assert house.told == []
        recycle_in_vain(house)

    assert house.crew.size == house.page.header.desired_workers == 1
    assert len(house.workers()) == 1
    ((kind, text),) = house.told
    assert kind == RECYCLING_GAVE_UP
    assert text == (
        "recycling workers has not brought memory back 3 times in a row: it is given up for "
        "10 minutes, and the server goes on with 1 worker(s) instead of 2, until SIGHUP or a "
        "restart; give it more memory, or fewer workers"
    )
    assert house.figures == {"workers": 1, "planned_workers": 2}
    assert text in said()
    leaving = next(each.index for each in house.crew.members.values() if each.is_leaving)
    house.dies(leaving)
    house.act()
    assert house.crew.next_spawn_seconds() is None
    assert not house.recycler.is_busy


def recycle_and_load_again(house: House) -> None:
    """Replace a worker of 200 MB; its successor is small at first, and then as large again."""
    for slot in house.page.live_slots():
        house.own(slot.index, 200)
    house.act()
    (old,) = house.replaced()
    house.start()
    house.dies(old)
    house.act()
    house.now_seconds += 6


def test_what_workers_load_again_and_again_is_left_to_them(house: House, said: Said) -> None:
    """Each recycle gave 200 MB back, and the successor took them with its first request.

    Three times; then there is one worker less, which has the memory that it needs.
    """
    house.situation = STUCK
    for _ in range(3):
        recycle_and_load_again(house)
        assert house.told == []
    house.own(0, 200)
    house.act()

    assert house.page.header.recycles == 3
    assert not house.recycler.is_busy
    assert (house.crew.size, len(house.workers())) == (1, 1)
    ((kind, text),) = house.told
    assert kind == RECYCLING_GAVE_UP
    assert text == (
        "what recycling workers brought back was in use again within 30 s 3 times in a row: it is "
        "given up for 10 minutes, and the server goes on with 1 worker(s) instead of 2, until "
        "SIGHUP or a restart; give it more memory, or fewer workers"
    )
    assert text in said()
    house.act()
    assert len(house.told) == 1


def test_several_that_are_stuck_are_recycled_in_turn() -> None:
    """What the first held stays free, so that each is a relief."""
    with scene(House, size=4) as house:
        house.situation = STUCK
        for index in range(4):
            house.own(index, 80)
        for count in range(4):
            house.situation = replace(STUCK, used_bytes=(430 - 80 * count) * MIB)
            house.act()
            (old,) = house.replaced()
            house.start()
            house.dies(old)
            house.act()
            house.now_seconds += 6

        assert house.page.header.recycles == 4
        assert (house.told, house.crew.size) == ([], 4)


def test_a_leak_is_recycled_for_as_long_as_it_leaks(house: House) -> None:
    """It comes back, of course; also where the level was up before the leak had its turn."""
    house.situation = STUCK
    for _ in range(6):
        house.leaks = dict.fromkeys(range(4), 1e6)
        recycle_and_load_again(house)

    assert house.page.header.recycles == 6
    assert (house.told, house.crew.size) == ([], 2)


def test_no_worker_is_given_up_while_memory_is_not_short(house: House) -> None:
    """Only recycling is: each is above the mark, and there is room for all of them."""
    house.situation = replace(CALM, recycle_above_bytes=150 * MIB)
    for _ in range(3):
        house.collected_mb = dict.fromkeys(range(4), 200.0)
        recycle_and_load_again(house)
    for slot in house.page.live_slots():
        house.own(slot.index, 200)
    house.act()

    assert not house.recycler.is_busy
    assert house.crew.size == 2
    assert house.told[0][1].endswith("it is given up for 10 minutes")


def test_new_code_brings_back_the_workers_that_were_given_up(house: House, said: Said) -> None:
    """All that were planned; and recycling them may help again."""
    house.situation = STUCK
    for _ in range(3):
        recycle_in_vain(house)
    house.dies(next(each.index for each in house.crew.members.values() if each.is_leaving))

    assert house.recycler.want_all(Reason.ASKED) == 1
    assert house.crew.size == 1
    house.recycler.want_all(Reason.NEW_CODE)

    assert house.crew.size == house.page.header.desired_workers == 2
    assert "there are 2 worker(s) again, as planned" in said()
    assert len(house.start()) == 1
    house.now_seconds += 20
    house.act()
    assert len(house.replaced()) == 1


def test_the_last_worker_is_never_given_up() -> None:
    """Only recycling is."""
    with scene(House, size=1) as house:
        house.situation = STUCK
        for _ in range(3):
            recycle_in_vain(house)

        assert house.crew.size == 1
        assert house.told[0][1].endswith("it is given up for 10 minutes")
        house.act()
        assert not house.recycler.is_busy


def test_when_it_is_tried_again_one_in_vain_is_not_three() -> None:
    """It was said to be given up once more, and a worker less went on."""
    with scene(House, size=1) as house:
        house.situation = STUCK
        for _ in range(3):
            recycle_in_vain(house)
        house.now_seconds += GIVEN_UP_SECONDS
        for times_told in (1, 1, 2):
            recycle_in_vain(house)
            assert len(house.told) == times_told


def test_after_a_recycle_that_helped_there_is_a_pause(house: House) -> None:
    """The level needs a moment to follow."""
    house.situation = STUCK
    house.own(0, 200)
    house.act()
    house.start()
    house.dies(0)
    house.act()
    house.own(1, 100)
    freed = house.page.header.recycled_bytes
    assert freed == 200 * MIB

    house.now_seconds += 1.9
    house.act()
    assert not house.recycler.is_busy
    house.now_seconds += 0.2
    house.act()
    assert house.replaced() == [1]


def test_giving_up_while_the_server_stops_asks_nobody_to_end(house: House) -> None:
    """All have been asked already."""
    house.situation = STUCK
    for _ in range(2):
        recycle_in_vain(house)
    for slot in house.page.live_slots():
        house.own(slot.index, 100)
    house.act()
    (old,) = house.replaced()
    (fresh,) = house.start()
    house.own(fresh.index, 100)
    house.crew.stop()
    house.dies(old)
    house.act()

    assert len(house.told) == 1


def test_workers_do_not_reach_their_count_of_requests_together() -> None:
    """Each one's bound is drawn once: a tenth more at most."""
    for index, limit in enumerate((1050, 1100)):
        with scene(House, max_requests=1000, draws=[0.5, 1.0]) as house:
            house.page.slots[index].requests = limit - 1
            house.act()
            assert not house.recycler.is_busy

            house.page.slots[index].requests = limit
            house.act()
            assert house.replaced() == [index]


def test_a_worker_has_a_lifetime() -> None:
    """With a tenth of jitter; its successor's begins when that one serves."""
    with scene(House, lifetime_seconds=600.0, draws=[0.0, 0.5]) as house:
        house.now_seconds += 499.9
        house.act()
        assert not house.recycler.is_busy
        house.now_seconds += 0.1

        house.replace(0, 2)
        house.act()
        assert not house.recycler.is_busy
        house.now_seconds += 30
        house.act()

        assert house.replaced() == [1]
