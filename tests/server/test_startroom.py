"""Room for workers to start, and what people are told where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.server.conftest import Said
from tests.server.recycling_house import House
from tests.server.scene import scene

from tonnage.governor.recycle import Reason
from tonnage.server.crew import Member
from tonnage.server.startroom import StartRoom

pytestmark = pytest.mark.usefixtures("chatty")


class Heavy(House):
    """A crew of two whose application loads 250 MB in its startup; nobody has started yet."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.room = StartRoom(self.page, self.crew, self.watch, self.recycler)

    def start(self) -> list[Member]:
        """Start nobody by itself."""
        return []

    def fill(self) -> list[int]:
        """Start who may; return their slots."""
        started = self.crew.fill(self.room.may_start)
        for member in started:
            self.hello(member)
        return [member.index for member in started]

    def loads(self, index: int, used_mb: float) -> None:
        """Let the worker of slot *index* become ready, with so much in use by all."""
        self.gauge.used_mb = used_mb
        self.ready(self.crew.members[index], own_mb=250)


@pytest.fixture
def house() -> Iterator[Heavy]:
    """A crew of two that has not started."""
    with scene(Heavy) as made:
        yield made


def test_the_first_starts_alone_and_then_those_that_fit(house: Heavy, said: Said) -> None:
    """Else two models at once are more than the limit, before anybody knows."""
    assert house.fill() == [0]
    assert house.fill() == []

    house.loads(0, used_mb=300)
    assert house.fill() == []

    assert house.crew.size == house.page.header.desired_workers == 1
    assert "1 of 2 workers have room: a start needs 375 MB, 212 MB are free" in said()


def test_with_room_the_next_follows_at_once(house: Heavy) -> None:
    """As soon as the first is ready."""
    assert house.fill() == [0]
    house.loads(0, used_mb=100)
    assert house.fill() == [1]


def test_where_there_were_more_the_next_waits_for_room(house: Heavy, said: Said) -> None:
    """A worker that dies while memory is short is replaced when it is not; told once."""
    house.fill()
    house.loads(0, used_mb=100)
    house.fill()
    house.loads(1, used_mb=100)
    house.dies(1)

    house.gauge.used_mb = 300
    for _ in range(3):
        house.now_seconds += 10
        assert house.fill() == []
    assert said().count("the next one waits until there is room") == 1
    assert house.crew.size == 2

    house.gauge.used_mb = 100
    house.now_seconds += 10
    assert house.fill() == [1]


def test_the_successor_in_a_replacement_was_judged_when_that_began(
    house: Heavy, said: Said
) -> None:
    """Else a replacement would wait for a successor that may not start, and keep others from it."""
    house.fill()
    house.loads(0, used_mb=100)
    house.fill()
    house.loads(1, used_mb=100)
    house.free_mb = 500
    house.recycler.want(0, Reason.ASKED)
    house.act()
    assert house.replaced() == [0]

    house.gauge.used_mb = 300
    assert house.fill() == [2]
    assert "have room" not in said()


def test_whoever_is_the_last_is_replaced_whatever_is_free(house: Heavy) -> None:
    """Somebody has to serve."""
    house.fill()
    house.loads(0, used_mb=100)
    house.dies(0)
    house.gauge.used_mb = 500
    house.now_seconds += 10
    assert house.fill() == [0]
