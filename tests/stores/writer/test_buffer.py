"""The buffer: bounds, order, who waits, and when records are due."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tonnage.errors import WriterClosedError
from tonnage.stores.writer.bounds import Bounds
from tonnage.stores.writer.buffer import Buffer, Taken
from tonnage.stores.writer.waiters import Waiter, refuse, tell


def waiters() -> list[Waiter]:
    """Return two, of whom the first has given up just now."""
    them = [Waiter(deque(), Future()) for _ in range(2)]
    them[0].future.cancel()
    return them


def test_who_has_given_up_keeps_nobody_behind_him_waiting() -> None:
    """Whether there is room now, or there will be none."""
    told, refused = waiters(), waiters()
    tell(told)
    assert told[1].future.result(0) is None
    refuse(refused)
    with pytest.raises(WriterClosedError, match="meanwhile"):
        refused[1].future.result(0)


class Bench:
    """A buffer of ten records and a hundred bytes, with a clock and a count of wake-ups."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        self.woken = 0
        self.buffer = Buffer(
            Bounds(max_records=10, max_bytes=100, batch_records=5, batch_bytes=50),
            wake=self._wake,
            clock=lambda: self.now_seconds,
        )

    def _wake(self) -> None:
        self.woken += 1


def test_who_takes_is_woken_by_the_first_and_when_it_is_enough() -> None:
    """And by nobody else."""
    bench = Bench()
    seen = []
    for n in range(10):
        assert bench.buffer.put([n], 1)
        seen.append(bench.woken)
    assert seen == [1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    assert not bench.buffer.put([10], 1)
    bench.buffer.take()
    assert bench.woken == 2


def test_bytes_make_it_due_too() -> None:
    """Half of them."""
    bench = Bench()
    bench.buffer.put(["a"], 49)
    assert bench.buffer.due_seconds(7) == 7
    bench.buffer.put(["b"], 1)
    assert bench.buffer.due_seconds(7) == 0


def test_it_is_due_some_time_after_the_first_record() -> None:
    """The first that waits, not the first that ever came."""
    bench = Bench()
    assert bench.buffer.due_seconds(5) is None
    bench.buffer.put([1], 1)
    bench.now_seconds = 3
    bench.buffer.put([2], 1)
    assert bench.buffer.due_seconds(5) == 2
    taken = bench.buffer.take()
    assert taken is not None
    assert taken.records == [1, 2]
    bench.buffer.put([3], 1)
    assert bench.buffer.due_seconds(5) == 5
    bench.now_seconds = 100
    assert bench.buffer.due_seconds(5) == 0


def test_lag_is_that_of_the_oldest_that_is_not_stored() -> None:
    """Taken or not."""
    bench = Bench()
    assert bench.buffer.lag_seconds() == 0
    bench.buffer.put([1], 1)
    bench.now_seconds = 3
    taken = bench.buffer.take()
    assert taken is not None
    bench.buffer.put([2], 1)
    bench.now_seconds = 7
    assert bench.buffer.lag_seconds() == 7
    bench.buffer.release(taken)
    assert bench.buffer.lag_seconds() == 4


def test_room_is_free_only_when_it_is_released() -> None:
    """For those that wait first."""
    bench = Bench()
    bench.buffer.put(list(range(10)), 10)
    waiter = bench.buffer.wait(deque([([10], 1), ([11, 12], 2)]))
    taken = bench.buffer.take()
    assert taken is not None
    assert not bench.buffer.put([13], 1)
    assert not waiter.future.done()
    assert bench.buffer.release(taken) == [waiter]
    tell([waiter])
    assert waiter.future.done()
    assert bench.buffer.put([13], 1)
    assert _all_of(bench.buffer) == [5, 6, 7, 8, 9, 10, 11, 12, 13]


def test_a_batch_is_half_of_what_may_be_there() -> None:
    """In records and in bytes, so that as much can come while it is on its way."""
    bench = Bench()
    bench.buffer.put(list(range(8)), 8)
    taken = bench.buffer.take()
    assert taken is not None
    assert (taken.records, taken.used_bytes) == ([0, 1, 2, 3, 4], 5)
    assert bench.buffer.due_seconds(5) == 5
    assert _all_of(bench.buffer) == [5, 6, 7]
    bench = Bench()
    bench.buffer.put(list(range(4)), 88)
    taken = bench.buffer.take()
    assert taken is not None
    assert (taken.records, taken.used_bytes) == ([0, 1, 2], 66)
    bench.buffer.release(taken)
    assert (bench.buffer.count, bench.buffer.used_bytes, bench.buffer.released) == (1, 22, 3)


def test_who_looks_by_himself_is_not_woken() -> None:
    """Not for the first record, nor for a batch."""
    bench = Bench()
    bench.buffer.is_watched = True
    bench.buffer.put(list(range(10)), 10)
    bench.buffer.wait(deque([([10], 1)]))
    assert bench.woken == 0
    assert bench.buffer.due_seconds(5) == 0


def _all_of(buffer: Buffer) -> list[Any]:
    found: list[Any] = []
    while (taken := buffer.take()) is not None:
        found += taken.records
        buffer.release(taken)
    return found


def test_closed_it_takes_nothing_and_tells_who_waits() -> None:
    """What is in it can still be taken."""
    bench = Bench()
    bench.buffer.put(list(range(10)), 10)
    waiter = bench.buffer.wait(deque([([10], 1)]))
    bench.buffer.close()
    with pytest.raises(WriterClosedError):
        waiter.future.result(0)
    for add in (lambda: bench.buffer.put([1], 1), lambda: bench.buffer.wait(deque())):
        with pytest.raises(WriterClosedError):
            add()
    assert bench.buffer.take() is not None


class Anybody(RuleBasedStateMachine):
    """Whatever is done to it, in whatever order: numbers go in and come out as they grow."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.buffer = self.bench.buffer
        self.number = 0
        self.accepted = self.refused = 0
        self.out: list[int] = []
        self.waiters: list[Waiter] = []
        self.taken: deque[Taken] = deque()

    def _numbers(self, count: int) -> list[int]:
        self.number += count
        return list(range(self.number - count, self.number))

    @rule(count=st.integers(1, 4), weight=st.integers(0, 60))
    def put(self, count: int, weight: int) -> None:
        """Taken if there is room, and nobody waiting."""
        buffer = self.buffer
        fits = buffer.count + count <= 10 and buffer.used_bytes + weight <= 100
        is_to_fit = fits and not buffer.waiters
        assert buffer.put(self._numbers(count), weight) == is_to_fit
        self.accepted += count * is_to_fit

    @rule(weight=st.integers(0, 60))
    def put_one(self, weight: int) -> None:
        """As one of many."""
        buffer = self.buffer
        fits = buffer.count < 10 and buffer.used_bytes + weight <= 100
        woken, due = self.bench.woken, buffer.is_due
        was_empty = buffer.due_seconds(5) is None
        taken = buffer.put_one(self._numbers(1)[0], weight)
        assert taken == (fits and not buffer.waiters)
        assert self.bench.woken - woken == (taken and (was_empty or buffer.is_due > due))
        self.accepted += taken

    @rule(sizes=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 100)), min_size=1, max_size=3))
    def wait(self, sizes: list[tuple[int, int]]) -> None:
        """In order, behind those who wait already."""
        self.accepted += sum(count for count, _ in sizes)
        parcels: deque[Any] = deque((self._numbers(count), weight) for count, weight in sizes)
        self.waiters.append(self.buffer.wait(parcels))

    @precondition(lambda self: self.waiters)
    @rule(which=st.integers(0, 100))
    def give_up(self, which: int) -> None:
        """What was not taken is not."""
        waiter = self.waiters.pop(which % len(self.waiters))
        waiter.future.cancel()
        self.accepted -= self.buffer.give_up(waiter)

    @rule()
    def take(self) -> None:
        """All that waits."""
        taken = self.buffer.take()
        if taken is not None:
            self.taken.append(taken)
            self.out += taken.records

    @rule()
    def pass_on(self) -> None:
        """Nothing older waits."""
        found = self.buffer.pass_on()
        if found is not None:
            records, waiter, is_last = found
            self.out += records
            if is_last:
                tell([waiter])

    @rule(part=st.floats(0, 1))
    def put_back(self, part: float) -> None:
        """The last of what was just taken; it comes out again before all others."""
        taken = self.buffer.take()
        if taken is not None:
            gone = int(len(taken.records) * part)
            gone_bytes = taken.used_bytes * gone // len(taken.records)
            waiting = len(self.buffer._waiting)
            left = Taken(taken.records[gone:], taken.used_bytes - gone_bytes)
            self.buffer.put_back(left)
            assert len(self.buffer._waiting) == waiting + len(left.records)
            self.taken.append(Taken(taken.records[:gone], gone_bytes))
            self.out += taken.records[:gone]

    @rule()
    def turn_away(self) -> None:
        """All who wait, with what they still have."""
        waiting, total = self.buffer.waiters, self.buffer.total
        refused = self.buffer.turn_away()
        assert (self.buffer.waiters, self.buffer.total) == (0, total + refused)
        assert refused >= waiting
        self.accepted -= refused
        self.refused += refused

    @precondition(lambda self: self.taken)
    @rule()
    def release(self) -> None:
        """Room for others."""
        tell(self.buffer.release(self.taken.popleft()))

    @invariant()
    def bounds_hold(self) -> None:
        """Always."""
        assert 0 <= self.buffer.count <= 10
        assert 0 <= self.buffer.used_bytes <= 100
        assert self.out == sorted(self.out)

    def teardown(self) -> None:
        """What was accepted comes out, and whoever waited is told, once all is taken."""
        while self.buffer.count or self.buffer.waiters:
            self.take()
            while self.taken:
                self.release()
        assert self.out == sorted(self.out)
        assert len(self.out) == len(set(self.out)) == self.accepted
        assert self.accepted + self.refused == self.buffer.total
        assert sum(waiter.refused for waiter in self.waiters) <= self.refused
        assert all(waiter.future.done() for waiter in self.waiters)


Anybody.TestCase.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
TestAnybody = Anybody.TestCase
