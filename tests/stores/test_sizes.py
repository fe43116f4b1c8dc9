"""How many bytes a value takes."""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from tonnage.stores.sizes import size_bytes


@dataclass(slots=True)
class Point:
    """Something with slots."""

    x: float
    name: str


def document(at: int) -> object:
    """Return what a database row with some rows below might be."""
    rows = [{"id": at * 1000 + n, "text": f"row {n} of {at}", "share": n / 7} for n in range(12)]
    return json.loads(json.dumps({"id": at + 1000, "tags": [f"tag {at}"], "rows": rows}))


def table(at: int) -> object:
    """Return more than is looked at one by one."""
    return json.loads(json.dumps([[at + 1000 + n, f"name {n} {at}", n / 3] for n in range(5000)]))


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (document, 100),
        (table, 3),
        (lambda at: [Point(at / 3, f"point {at} {n}") for n in range(50)], 100),
        (lambda at: {n + 1000: str(n + at) for n in range(300)}, 50),
        (lambda at: b"x" * (100 + at), 500),
    ],
    ids=["document", "table", "slots", "numbers", "bytes"],
)
def test_the_estimate_is_close(make: Callable[[int], object], count: int) -> None:
    """Within a tenth of what was allocated, rounded up as the allocator does: 8 bytes a block."""
    gc.collect()
    tracemalloc.start()
    try:
        values = [make(at) for at in range(count)]
        snapshot = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    # What is made here, by JSON, and by dataclasses; other threads may be at work meanwhile.
    makers = (__file__, f"{Path(json.__file__).parent}/*", "<string>")
    here = snapshot.filter_traces([tracemalloc.Filter(True, each) for each in makers])
    traces = here.statistics("filename")
    real = sum(each.size + 8 * each.count for each in traces) - sys.getsizeof(values)

    assert sum(map(size_bytes, values)) == pytest.approx(real, rel=0.1)


def test_a_value_that_holds_itself_counts_once() -> None:
    """Or what it holds twice."""
    endless: list[object] = [b"x" * 1000]
    endless += [endless, endless[0]]

    assert 1000 < size_bytes(endless) < 1300


def test_a_view_counts_what_it_shows() -> None:
    """It keeps that alive, and it is what the cache holds then."""
    view = memoryview(bytearray(10_000))

    assert 10_000 < size_bytes([view]) < 10_500
    assert size_bytes([view[:100]]) < 500


def test_what_lives_anyway_counts_nothing() -> None:
    """A class, a function, small numbers: each is a pointer."""
    assert size_bytes([json, Point, document, None, True, 7]) <= sys.getsizeof([None] * 6) + 16


def test_a_deep_value_is_looked_at_to_an_end() -> None:
    """Neither the time nor the interpreter's stack is without bounds."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]

    assert size_bytes(deep) >= sys.getsizeof(deep)
    while deep:
        deep = deep.pop()  # type: ignore[assignment]


def test_what_holds_nothing_is_no_obstacle_in_a_large_value() -> None:
    """It comes up when there is no room to look at more."""
    rows = [{"at": datetime(2026, 1, 1), "tags": list[str]()} for _ in range(200)]

    assert size_bytes(rows) > 200 * sys.getsizeof(rows[0])
