"""The table of rates: bounded whoever comes, shared by forked workers, and fair in forgetting."""

from __future__ import annotations

import os
import random
import statistics
import struct
import time
import tracemalloc
from collections.abc import Callable
from functools import partial

import pytest
from tests.support.forking import fork, status_of

from tonnage.rates import table as rates_table
from tonnage.rates.gcra import Rate, parse_rate
from tonnage.rates.table import (
    CELL_BYTES,
    MAX_KEYS,
    TABLE_BYTES,
    RateTable,
    Store,
    default_table,
    shared_table,
)
from tonnage.units import MIB

SECOND = 1_000_000_000
NOW = 1_000 * SECOND
RATE = parse_rate("100/15m")


def keys(count: int, seed: int = 1) -> list[int]:
    """Return so many keys, as a keyed hash would make them."""
    chance = random.Random(seed)
    return [chance.getrandbits(64) for _ in range(count)]


def exhaust(table: Store, key: int, rate: Rate = RATE, now_ns: int = NOW) -> int:
    """Ask until refused; return how often it was let in."""
    count = 0
    while table.take(key, rate, now_ns) >= 0:
        count += 1
    return count


def test_each_key_has_its_own_count() -> None:
    """And is refused for its own requests only."""
    table = RateTable()
    one, other = keys(2)

    assert exhaust(table, one) == 100
    assert exhaust(table, other) == 100
    assert table.take(one, RATE, NOW + 9 * SECOND) >= 0
    assert table.take(one, RATE, NOW + 9 * SECOND) < 0


def test_the_wait_is_what_is_missing() -> None:
    """In nanoseconds: 100 in 15 minutes are one in 9 s."""
    table = RateTable()
    exhaust(table, 1)

    assert table.take(1, RATE, NOW + 2 * SECOND) == -7 * SECOND


def test_what_another_limit_refused_can_be_given_back() -> None:
    """As if it had not been asked for."""
    table = RateTable()
    before = table.take(1, RATE, NOW)

    table.take(1, RATE, NOW)
    table.give_back(1, RATE)
    table.give_back(2, RATE)  # forgotten meanwhile, or never there

    assert table.take(1, RATE, NOW) == before - RATE.interval_ns


def test_the_table_is_a_megabyte() -> None:
    """As the constants say."""
    assert RateTable().size_bytes == TABLE_BYTES == MAX_KEYS * CELL_BYTES == MIB
    assert RateTable(keys=100).size_bytes == 128 * CELL_BYTES
    assert RateTable(keys=1).size_bytes == 8 * CELL_BYTES


def test_a_flood_of_keys_takes_no_memory() -> None:
    """All of it was there before."""
    table = RateTable(keys=1024)
    flood = keys(5_000)
    tracemalloc.start()
    try:
        for key in flood:
            table.take(key, RATE, NOW)
        snapshot = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    # Only what the table allocated: other threads may be at work meanwhile.
    of_table = snapshot.filter_traces([tracemalloc.Filter(True, rates_table.__file__)])

    assert sum(trace.size for trace in of_table.traces) < 4096
    assert table.forgotten > 3_500


def test_a_flood_does_not_free_who_is_at_his_limit() -> None:
    """New addresses push out their own kind: each has used less than one that is refused."""
    table = RateTable(keys=1024)
    abusers = keys(50, seed=2)
    for abuser in abusers:
        exhaust(table, abuser)

    for key in keys(50_000):
        table.take(key, RATE, NOW)

    assert [abuser for abuser in abusers if table.take(abuser, RATE, NOW) >= 0] == []


def test_who_has_a_right_to_all_again_makes_room_first() -> None:
    """A TAT that is past says nothing, so whoever has used anything is remembered before it."""
    table = RateTable(keys=8)
    quiet = keys(7)
    for key in quiet:
        table.take(key, RATE, NOW)
    table.take(1, RATE, NOW + 8 * SECOND)

    for key in keys(7, seed=3):
        table.take(key, RATE, NOW + 10 * SECOND)

    assert table.forgotten == 0
    assert (
        table.take(1, RATE, NOW + 10 * SECOND) == RATE.full_ns - 2 * RATE.interval_ns + 2 * SECOND
    )


def test_a_full_table_lets_newcomers_in() -> None:
    """Else whoever has many addresses could lock everybody out."""
    table = RateTable(keys=64)
    for key in keys(1_000):
        exhaust(table, key)

    assert table.take(keys(1, seed=5)[0], RATE, NOW) >= 0


def test_half_as_many_keys_as_cells_are_nearly_all_remembered() -> None:
    """Sets do not fill evenly, so it is not quite all."""
    table = RateTable(keys=4096)

    for key in keys(2048):
        table.take(key, RATE, NOW)

    assert table.forgotten < 2048 * 0.02


def test_a_time_that_no_rate_gave_is_cut_back() -> None:
    """Two keys that claim a cell at once can mix: the innocent one waits an interval at most."""
    table = RateTable()
    exhaust(table, 1, parse_rate("1/30d"))

    # The same cell, taken by a client of a rate by the second.
    fast = parse_rate("10/1s")
    assert table.take(1, fast, NOW) == -fast.interval_ns
    assert table.take(1, fast, NOW + fast.interval_ns) >= 0


def test_the_default_table_is_one() -> None:
    """All limits of a process share it."""
    assert default_table() is default_table()


@pytest.mark.real
def test_forked_workers_share_the_count() -> None:
    """What one has let in, the next does not let in again."""
    table = RateTable()

    assert in_children([lambda: exhaust(table, 1)]) == 100
    assert in_children([lambda: exhaust(table, 1)]) == 0


@pytest.mark.real
def test_workers_at_once_hardly_let_more_in() -> None:
    """Nothing is locked, so some may pass uncounted: 5,000 a second of one client, 5 in 1000.

    Usually: where a worker is interrupted between its look and its count, more pass at a time. And
    requests come when they come; workers that slept equally long would wake at the same moment.
    """
    rate = Rate(500, 3600)

    def passed(table: RateTable) -> int:
        def ask_on() -> int:
            passed, when = 0, random.Random(os.getpid())
            for _ in range(1_000):
                passed += table.take(1, rate, time.monotonic_ns()) >= 0
                time.sleep(when.uniform(0.0001, 0.0003))
            return passed

        return in_children([ask_on] * 2)

    found = [passed(RateTable()) for _ in range(3)]
    assert min(found) >= 500
    assert statistics.median(found) <= 503


def in_children(jobs: list[Callable[[], int]]) -> int:
    """Return the sum of what *jobs* return, each in a process forked for it."""
    reading, writing = os.pipe()

    def tell(job: Callable[[], int]) -> None:
        os.write(writing, struct.pack("q", job()))

    children = [fork(partial(tell, job)) for job in jobs]
    assert [status_of(child) for child in children] == [0] * len(jobs)
    os.close(writing)
    with open(reading, "rb") as results:
        return sum(each for (each,) in struct.iter_unpack("q", results.read()))


# What is shared by name, and other instants than those of rates.


def test_a_table_is_shared_by_its_name() -> None:
    """Also by processes that have nothing else in common, such as a worker and the supervisor."""
    one = shared_table("test of tables", 64)
    assert exhaust(one, 7) == 100

    def look() -> None:
        other = shared_table("test of tables", 64)
        assert exhaust(other, 7) == 0
        assert other.secret == one.secret

    assert status_of(fork(look)) == 0
    assert exhaust(shared_table("another test of tables", 64), 7) == 100


def test_instants_can_be_kept_by_key() -> None:
    """Such as until when somebody is blocked."""
    table = RateTable(64)
    assert table.ahead_ns(7, NOW) == 0
    table.put(7, NOW + 5 * SECOND, NOW)
    table.put(8, NOW + 9 * SECOND, NOW)
    assert (table.ahead_ns(7, NOW), table.ahead_ns(7, NOW + 6 * SECOND)) == (5 * SECOND, 0)
    assert (table.count_ahead(NOW), table.count_ahead(NOW + 6 * SECOND)) == (2, 1)
    table.put(8, 0, NOW)
    assert table.count_ahead(NOW) == 1


def test_when_there_are_too_many_the_earliest_is_forgotten() -> None:
    """Of those that are still ahead; one that is past goes before them."""
    table = RateTable(8)
    for key in range(8):
        table.put(key, NOW + (key + 2) * SECOND, NOW)
    table.put(100, NOW + 60 * SECOND, NOW + 3 * SECOND)
    assert [table.ahead_ns(key, NOW + 3 * SECOND) > 0 for key in (0, 1, 2)] == [False, False, True]
    table.put(101, NOW + 60 * SECOND, NOW + 3 * SECOND)
    table.put(102, NOW + 60 * SECOND, NOW + 3 * SECOND)
    assert table.ahead_ns(2, NOW + 3 * SECOND) == 0
    assert table.ahead_ns(3, NOW + 3 * SECOND) > 0
    assert table.forgotten == 1
