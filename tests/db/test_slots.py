"""Who gets a connection: decided without any."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
from tests.support.clock import Clock

from tonnage.db.pooling.slots import FULL_SECONDS, Grant, LineFullError, Slots


class Waiting:
    """Somebody in line."""

    def __init__(self) -> None:
        self.heard: list[Grant[Any] | BaseException] = []

    def wake(self, found: Grant[Any] | BaseException) -> None:
        """Note it."""
        self.heard.append(found)


def take(slots: Slots[str]) -> Waiting | Grant[str]:
    """Take a place."""
    return slots.take(Waiting)


def waiting(slots: Slots[str]) -> Waiting:
    """Take a place in line."""
    found = take(slots)
    assert isinstance(found, Waiting)
    return found


def test_grants_as_many_as_the_limit_and_has_others_wait() -> None:
    """Grants as many as the limit and has others wait."""
    slots = Slots[str](limit=2, most_waiting=1)
    assert take(slots) == take(slots) == Grant()
    assert waiting(slots).heard == []
    with pytest.raises(LineFullError):
        take(slots)
    assert (slots.in_use, slots.idle, slots.waiting) == (2, 0, 1)


def test_serves_in_turn_and_nobody_overtakes() -> None:
    """Serves in turn and nobody overtakes."""
    slots = Slots[str](limit=1, most_waiting=9)
    take(slots)
    first, second = waiting(slots), waiting(slots)
    assert slots.leave("a", 1.0)
    assert first.heard == [Grant("a", 1.0)]
    assert second.heard == []
    third = waiting(slots)
    slots.leave(None, 2.0)
    assert second.heard == [Grant()]
    assert third.heard == []


def test_the_one_used_last_goes_first_so_that_others_get_old() -> None:
    """The one used last goes first so that others get old."""
    slots = Slots[str](limit=3, most_waiting=0)
    for _ in range(3):
        take(slots)
    for number, name in enumerate("abc"):
        slots.leave(name, float(number))
    assert take(slots) == Grant("c", 2.0)
    assert slots.take_out(lambda grant: grant.since_seconds < 1) == ["a"]
    # Its place is taken until it is closed.
    assert slots.in_use == 2
    assert take(slots) == Grant("b", 1.0)
    with pytest.raises(LineFullError):
        take(slots)
    slots.leave(None, 3.0)
    assert take(slots) == Grant()


def test_takes_out_no_more_than_was_asked_for() -> None:
    """Takes out no more than was asked for."""
    slots = Slots[str](limit=3, most_waiting=0)
    for _ in range(3):
        take(slots)
    for name in "abc":
        slots.leave(name, 0.0)
    assert slots.take_out(lambda _: True, 2) == ["a", "b"]
    assert slots.idle == 1


def test_takes_out_what_has_rested_or_is_over() -> None:
    """Whichever comes first."""
    slots = Slots[str](limit=3, most_waiting=0, clock=lambda: 10.0)
    for _ in range(3):
        take(slots)
    for number, name in enumerate("abc", 6):
        slots.leave(name, float(number))
    assert slots.take_rested(4.0, lambda item: item == "c") == ["a", "c"]
    assert (slots.idle, slots.in_use) == (1, 2)


def test_whoever_gives_up_gets_nothing() -> None:
    """Whoever gives up gets nothing."""
    slots = Slots[str](limit=1, most_waiting=9)
    take(slots)
    first, second = waiting(slots), waiting(slots)
    assert slots.forget(first)
    assert not slots.forget(first)
    slots.leave("a", 1.0)
    assert (first.heard, second.heard) == ([], [Grant("a", 1.0)])
    # Too late: it has a grant, which it has to give back.
    assert not slots.forget(second)


def test_a_lower_limit_closes_what_rests_first_and_then_what_comes_back() -> None:
    """A lower limit closes what rests first and then what comes back."""
    slots = Slots[str](limit=3, most_waiting=9)
    for _ in range(3):
        take(slots)
    slots.leave("a", 0.0)
    assert slots.resize(1) == ["a"]
    slots.leave(None, 0.0)
    assert not slots.leave("b", 1.0)
    last = waiting(slots)
    slots.leave(None, 1.0)
    assert last.heard == []
    assert slots.leave("c", 2.0)
    assert last.heard == [Grant("c", 2.0)]


def test_a_higher_limit_serves_who_waits() -> None:
    """A higher limit serves who waits."""
    slots = Slots[str](limit=1, most_waiting=9)
    take(slots)
    waiters = [waiting(slots) for _ in range(3)]
    slots.resize(3)
    assert [len(each.heard) for each in waiters] == [1, 1, 0]


def test_has_everybody_who_waits_hear_an_error_of_its_own() -> None:
    """Has everybody who waits hear an error of its own."""
    slots = Slots[str](limit=1, most_waiting=9)
    take(slots)
    waiters = [waiting(slots) for _ in range(2)]
    slots.turn_away(lambda: OSError("away"))
    (one,), (other,) = (each.heard for each in waiters)
    assert isinstance(one, OSError)
    assert one is not other
    assert slots.waiting == 0


def test_lends_only_what_nobody_waits_for() -> None:
    """Lends only what nobody waits for."""
    slots = Slots[str](limit=1, most_waiting=9)
    assert slots.borrow() is None
    take(slots)
    assert slots.borrow() is None
    slots.leave("a", 1.0)
    assert slots.borrow() == ("a", 1.0)
    assert slots.idle == 0


def test_where_there_is_no_room_for_more_all_wait_for_those_there_are() -> None:
    """First in line is whoever was told to open one."""
    clock = Clock(0.0)
    slots = Slots[str](limit=3, most_waiting=9, clock=clock)
    assert take(slots) == take(slots) == Grant()
    first = slots.go_without(Waiting)
    assert first is not None
    # A place is free, and nobody is told to open a connection for it.
    second = waiting(slots)
    assert slots.leave("a", 1.0)
    assert (first.heard, second.heard) == ([Grant("a", 1.0)], [])
    assert slots.leave("a", 2.0)
    assert second.heard == [Grant("a", 2.0)]
    # After a while it is tried again.
    clock.seconds = FULL_SECONDS
    assert take(slots) == Grant()


def test_whoever_finds_no_room_gets_one_that_came_back_meanwhile() -> None:
    """At once."""
    slots = Slots[str](limit=2, most_waiting=9)
    assert take(slots) == take(slots) == Grant()
    assert slots.leave("a", 1.0)
    found = slots.go_without(Waiting)
    assert found is not None
    assert found.heard == [Grant("a", 1.0)]
    assert (slots.in_use, slots.idle) == (1, 0)


def test_without_any_other_there_is_nothing_to_wait_for() -> None:
    """And when the last of several finds no room, too."""
    slots = Slots[str](limit=3, most_waiting=9)
    for _ in range(3):
        take(slots)
    assert slots.go_without(Waiting) is not None
    assert slots.go_without(Waiting) is not None
    assert slots.go_without(Waiting) is None
    assert (slots.in_use, slots.waiting) == (1, 2)


def test_whoever_comes_when_there_may_be_room_again_has_the_line_move() -> None:
    """Else those in it would wait for connections that are held for long."""
    clock = Clock(0.0)
    slots = Slots[str](limit=2, most_waiting=9, clock=clock)
    assert take(slots) == take(slots) == Grant()
    first = slots.go_without(Waiting)
    assert first is not None
    clock.seconds = FULL_SECONDS
    last = waiting(slots)
    assert (first.heard, last.heard) == ([Grant()], [])


def test_the_collector_may_give_one_back_while_another_enters() -> None:
    """It runs wherever something is made, in the same thread."""
    slots = Slots[str](limit=1, most_waiting=9)
    assert slots.take(Waiting) == Grant()

    class Lost:
        """A connection in a circle, whose end nobody has seen."""

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            slots.leave("a", 1.0)

    def make_waiter() -> Waiting:
        Lost()
        gc.collect()
        return Waiting()

    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(slots.take(make_waiter)), daemon=True)
    thread.start()
    thread.join(10)
    assert [waiter.heard for waiter in found] == [[Grant("a", 1.0)]]
    assert (slots.in_use, slots.idle, slots.waiting) == (1, 0, 0)
