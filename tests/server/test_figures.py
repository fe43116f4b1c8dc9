"""The supervisor's sum of what workers have counted: no count ever falls."""

from __future__ import annotations

import random
from collections import Counter
from itertools import count
from typing import Any

import pytest

from tonnage.governor.page import SharedPage
from tonnage.ops.figures.records import MOST_ROUTES, MOST_STORES, OTHER, Figures, StoreFigures
from tonnage.ops.figures.telling import Counted
from tonnage.server.crew import Crew
from tonnage.server.figures import Figuring
from tonnage.server.messages import WORKERS, SupervisorChannel, WorkerChannel


class House:
    """Workers of a crew that say what they are told to, and the sum of it."""

    def __init__(self, workers: int = 2) -> None:
        self.page = SharedPage(workers)
        # Nobody has to wait for a successor.
        self._clock = count(0.0, 1000.0).__next__
        self._channels: list[WorkerChannel | SupervisorChannel] = []
        self.crew = Crew(self.page, workers, spawn=self._spawn, clock=self._clock)
        self.figuring = Figuring(self.page)
        self.start()

    def start(self) -> None:
        """Have there be as many workers as there should."""
        for member in self.crew.fill():
            self.page.slots[member.index].pid = 1000 + member.index

    def tell(self, index: int, *stores: StoreFigures, **routes: int) -> None:
        """Have a worker say how many answers it has given by now, and what its stores say."""
        self.figuring.heard(
            index,
            Counted(
                routes=[_row(*each) for each in routes.items()],
                stores=[[e.kind, e.name, e.counts, e.now, e.is_shared] for e in stores],
            ),
        )

    def end(self, index: int) -> None:
        """Have a worker be gone; the crew's part comes first, as the foreman has it."""
        self.crew.lost(self.crew.members[index], 9)
        self.figuring.ended(index)

    def requests(self) -> dict[str, int]:
        """Return how many requests each route of the server has had."""
        return {route.name: route.requests for route in self.figuring.figures().routes}

    def close(self) -> None:
        """Close all channels."""
        for channel in self._channels:
            channel.close()

    def _spawn(self, index: int) -> WorkerChannel:
        ours, theirs = WORKERS.pair()
        self._channels += (ours, theirs)
        return ours


@pytest.fixture
def house() -> Any:
    """Return a house of two workers."""
    made = House()
    yield made
    made.close()


def _row(name: str, requests: int) -> list[Any]:
    return [name, [0, requests, 0, 0, 0], 0, requests / 4, [requests, *[0] * 13]]


def _hits(count: int, **now: float) -> StoreFigures:
    return StoreFigures("cache", "c", {"hits": count}, now)


def test_workers_are_one_sum(house: House) -> None:
    """What each has told last counts, however often it was told."""
    house.tell(0, _hits(3, entries=2), a=4)
    house.tell(1, _hits(1, entries=5), a=1, b=2)
    house.tell(0, a=6)
    house.tell(0, a=6)

    assert house.requests() == {"a": 7, "b": 2}
    assert house.figuring.figures().stores == (_hits(4, entries=7),)


def test_what_has_ended_stays_counted(house: House) -> None:
    """And its successor in the same slot begins at zero, beside it."""
    house.tell(0, _hits(3, entries=2), a=4)
    house.end(0)
    assert house.requests() == {"a": 4}
    assert house.figuring.figures().stores == (_hits(3),)

    house.start()
    house.tell(0, _hits(1, entries=1), a=1)

    assert house.requests() == {"a": 5}
    assert house.figuring.figures().stores == (_hits(4, entries=1),)


def test_no_count_ever_falls_whatever_happens(house: House) -> None:
    """Workers tell, end and begin in any order, with more routes than there is room for."""
    chance = random.Random(8)
    counted: dict[int, Counter[str]] = {0: Counter(), 1: Counter()}
    before: dict[str, int] = {}
    sent = 0
    for _ in range(300):
        index = chance.randrange(2)
        if chance.random() < 0.1:
            house.end(index)
            house.start()
            counted[index].clear()
        else:
            new = [f"r{chance.randrange(2 * MOST_ROUTES)}" for _ in range(chance.randrange(9))]
            counted[index].update(new)
            sent += len(new)
            house.tell(index, **{name: counted[index][name] for name in new})
        now = house.requests()
        assert all(now[name] >= was for name, was in before.items())
        assert sum(now.values()) == sent
        before = now
    assert len(before) == MOST_ROUTES


def test_what_was_in_the_slot_of_one_that_ended_is_kept(house: House) -> None:
    """It is wiped for the successor."""
    for index, slot in enumerate(house.page.slots):
        slot.requests, slot.refused, slot.waited, slot.memory_errors = 10 + index, 3, 2, 1

    def counts() -> tuple[int, ...]:
        now = house.figuring.figures()
        return now.requests, now.refused, now.waited, now.memory_errors

    assert counts() == (21, 6, 4, 2)
    house.end(1)
    assert counts() == (21, 6, 4, 2)
    house.start()
    house.page.slots[1].requests = 5
    assert counts() == (26, 6, 4, 2)


def test_routes_that_have_a_place_keep_it(house: House) -> None:
    """Whatever comes later, from whichever worker, so that no route's count falls."""
    house.tell(1, **{f"r{number}": 1 for number in range(MOST_ROUTES - 1)})
    before = house.requests()
    house.tell(0, **{f"new{number}": 1 for number in range(40)}, r5=2)
    after = house.requests()

    assert {name: after[name] for name in before} == before | {"r5": 3}
    assert after[OTHER] == 40
    assert len(after) == MOST_ROUTES

    house.end(0)
    assert house.requests() == after
    house.start()
    house.tell(0, new3=5)
    assert house.requests() == after | {OTHER: 45}


def test_stores_that_have_a_place_keep_it(house: House) -> None:
    """Others are left out."""
    house.tell(1, *(StoreFigures("cache", str(n), {"hits": 1}) for n in range(MOST_STORES)))
    house.tell(0, StoreFigures("cache", "late", {"hits": 1}))

    names = {store.name for store in house.figuring.figures().stores}

    assert len(names) == MOST_STORES
    assert "late" not in names


def test_what_all_processes_share_is_counted_once(house: House) -> None:
    """It is read where it is; no worker says it."""
    shared = StoreFigures("security", "events", {"failed": 4})
    figuring = Figuring(house.page, lambda: [shared])
    figuring.heard(0, Counted())
    figuring.ended(0)

    assert figuring.figures().stores == (shared,)
    assert figuring.figures().stores == (shared,)


def test_one_that_ends_before_it_has_said_anything_counts_nothing(house: House) -> None:
    """As one whose application does not start."""
    house.end(0)

    assert house.figuring.figures() == Figures()
