"""Who is served, by probes against a small server of the test's own; and whose turn it is."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from benchmarks.beforeafter.measuring import WAYS, turns
from benchmarks.beforeafter.scenario import Step, read
from benchmarks.beforeafter.watching import answer, asked_between, is_served, well_again
from tests.beforeafter.test_crowd import PLAIN, Asked, serving
from tests.beforeafter.test_scenario import MINIMAL, write

REFUSED = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"


def ordinary(directory: Path) -> Step:
    """Return what is asked besides health: ``GET /events``."""
    return read(write(directory, MINIMAL)).probe


def only_health(path: str, asked: Asked) -> bytes:
    """Answer what costs nothing, and refuse all else."""
    return PLAIN if path == "/health" else REFUSED


async def test_who_answers_health_alone_serves_nobody(tmp_path: Path) -> None:
    """What users ask is asked too, and only an answer that is good for them counts."""
    async with serving(only_health) as asked:
        assert await answer(asked.port) is not None
        assert not await is_served(asked.port, ordinary(tmp_path))
    assert asked.paths == ["/health", "/events"]

    async with serving(lambda path, asked: PLAIN) as asked:
        assert await is_served(asked.port, ordinary(tmp_path))
    assert not await is_served(asked.port, ordinary(tmp_path))


async def test_all_is_well_again_when_users_are_served(tmp_path: Path) -> None:
    """Not as soon as health is answered."""

    def later(refusals: int, path: str, asked: Asked) -> bytes:
        return PLAIN if asked.paths.count("/events") > refusals else only_health(path, asked)

    async with serving(partial(later, 1)) as asked:
        well_after_seconds = await well_again(asked.port, ordinary(tmp_path), time.monotonic(), 5)
    assert asked.paths == ["/health", "/events"] * 2
    assert well_after_seconds < 5


def test_probes_count_from_the_first_moment_of_the_load_to_its_last() -> None:
    """In the order in which they were asked, not answered."""
    assert asked_between({3.0: False, 2.0: True, 1.0: True, 4.5: True}, 2.0, 4.0) == [True, False]


def test_each_way_has_each_turn_once_in_three_runs() -> None:
    """So none is always the first, to which the machine is cold."""
    orders = [turns(number) for number in (1, 2, 3)]

    assert orders[0] == WAYS
    assert all(set(order) == set(WAYS) for order in orders)
    for ways in zip(*orders, strict=True):
        assert set(ways) == set(WAYS)
    assert turns(4) == turns(1)
