"""What a MemoryError says, and how to let go of what it holds."""

from __future__ import annotations

import asyncio
import json
import resource
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tonnage.host.processes import StatmSample
from tonnage.units import KIB, MIB
from tonnage.web.outofmemory import (
    Reserve,
    clear_frames,
    examine,
    line_of,
    may_hold_memory_error,
    memory_error_in,
    status_for,
)


class ArrayMemoryError(MemoryError):
    """As numpy has one."""


def chained(first: BaseException, then: BaseException) -> BaseException:
    """Return *then* as it is when raised while *first* is handled."""
    then.__context__ = first
    return then


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (None, False),
        (LookupError(), False),
        (MemoryError(), True),
        (ArrayMemoryError(), True),
        (chained(MemoryError(), LookupError()), True),
        (chained(chained(MemoryError(), LookupError()), OSError()), True),
        (ExceptionGroup("tasks", [OSError(), ExceptionGroup("more", [MemoryError()])]), True),
        (ExceptionGroup("tasks", [OSError(), LookupError()]), False),
    ],
)
def test_a_memory_error_is_found_behind_others(error: BaseException | None, found: bool) -> None:
    """As a group's member, a cause, or what was being handled."""
    assert (memory_error_in(error) is not None) == found


def test_the_first_question_needs_no_memory() -> None:
    """There may be none at all, and in a thread its answer decides whether any comes free."""
    alone, behind = MemoryError(), chained(MemoryError(), LookupError())

    def ask() -> int:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        assert may_hold_memory_error(alone)
        assert may_hold_memory_error(behind)
        return tracemalloc.get_traced_memory()[1] - before

    def ask_nothing() -> int:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        # The least of some: other threads may be at work meanwhile.
        assert min(ask() for _ in range(5)) == min(ask_nothing() for _ in range(5))
    finally:
        tracemalloc.stop()


def test_errors_in_a_circle_are_looked_at_once() -> None:
    """It can be made by hand."""
    one, two = LookupError(), OSError()
    one.__context__, two.__cause__ = two, one

    assert memory_error_in(one) is None


@pytest.mark.parametrize(
    ("body_bytes", "left_bytes", "status"),
    [
        (0, 0, 503),
        (500 * KIB, 100 * KIB, 503),
        (MIB, 2 * MIB, 413),
        (15 * MIB, 64 * MIB, 503),
        (16 * MIB, 64 * MIB, 413),
    ],
)
def test_a_body_is_the_reason_from_a_quarter_of_what_was_left(
    body_bytes: int, left_bytes: int, status: int
) -> None:
    """And from 1 MB."""
    assert status_for(body_bytes, left_bytes) == status


def test_the_line_is_the_applications_own_with_the_librarys_before_it() -> None:
    """Where json raises, it matters who called it."""

    def parse(text: str) -> None:
        json.loads(text)

    with pytest.raises(ValueError, match="Expecting") as raised:
        parse("[")

    first, _, second = line_of(raised.value).partition(", called at ")
    assert first.startswith("json/decoder.py:")
    assert second.startswith("tests/web/test_outofmemory.py:")
    assert second.endswith(" in parse")


def test_the_first_memory_error_that_knows_a_line_is_the_one_that_counts() -> None:
    """Where no frame can be noted, CPython puts an error without the inner frames in its place."""

    def allocate() -> None:
        raise MemoryError

    def call() -> None:
        try:
            allocate()
        except MemoryError as error:
            raise MemoryError from error

    with pytest.raises(MemoryError) as raised:
        call()
    assert line_of(raised.value).endswith(" in allocate")


def test_a_memory_error_without_frames_leaves_the_line_to_those_made_of_it() -> None:
    """The frames further out have memory to be noted again."""
    with pytest.raises(MemoryError) as raised:
        raise MemoryError from MemoryError()

    assert line_of(raised.value).startswith("tests/web/test_outofmemory.py:")


def test_code_without_a_file_of_its_own_is_a_librarys() -> None:
    """As Cython's, of which the path is relative."""
    code = compile("def run(function): function()", "uvloop/loop.pyx", "exec")
    compiled: dict[str, Any] = {}
    exec(code, compiled)

    def burst() -> None:
        compiled["run"](json.loads)

    with pytest.raises(TypeError) as raised:
        burst()
    first, _, second = line_of(raised.value).partition(", called at ")
    assert first.startswith("uvloop/loop.pyx:")
    assert second.endswith(" in burst")


def test_the_size_is_read_before_the_frames_are_freed() -> None:
    """And once more where it could not be: another thread may have had the last byte."""
    held: list[weakref.ref[Block]] = []
    seen: list[bool] = []

    def allocate() -> None:
        block = Block()
        held.append(weakref.ref(block))
        raise MemoryError

    def read() -> StatmSample:
        seen.append(held[-1]() is not None)
        if len(seen) == 2:
            raise MemoryError
        return StatmSample(resident_bytes=90 * MIB, shared_bytes=0, data_bytes=90 * MIB)

    for _ in range(2):
        with pytest.raises(MemoryError) as raised:
            allocate()
        finding = examine(raised.value, read)
        assert finding.private_bytes == 90 * MIB
        assert finding.line.endswith(" in allocate")
    assert seen == [True, True, False]


def test_an_error_that_is_met_again_is_what_it_was_at_first() -> None:
    """A thread has let go of what it held before the event loop sees it."""
    with pytest.raises(MemoryError) as raised:
        _calls()
    sizes = iter((90 * MIB, 90 * MIB, 10 * MIB))

    def read() -> StatmSample:
        return StatmSample(next(sizes), 0, 0)

    first = examine(raised.value, read)
    assert first.private_bytes == 90 * MIB
    assert examine(raised.value, read) is first


def test_an_error_without_a_traceback_has_no_line() -> None:
    """There may have been no memory for one."""
    assert line_of(MemoryError()) == "an unknown line"


@pytest.fixture
def limited() -> Iterator[int]:
    """Yield a limit of this process's data that is far away."""
    limit, before = 1 << 40, resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_DATA, before)


def _unnoted() -> None:
    error = MemoryError()
    raise error


def _calls() -> None:
    _unnoted()


def _outermost_only(error: BaseException) -> MemoryError:
    """Return *error* as it is where there was no memory to note its innermost frame."""
    assert isinstance(error, MemoryError)
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_next is not None
    error.__traceback__.tb_next.tb_next = None
    return error


@pytest.mark.parametrize(("free_bytes", "is_late"), [(400 * MIB, True), (4 * MIB, False)])
def test_where_a_frame_could_not_be_noted_the_line_is_not_said_to_be_exact(
    limited: int, free_bytes: int, is_late: bool
) -> None:
    """Its memory is free again when the error arrives, so that is how it is known."""
    with pytest.raises(MemoryError) as raised:
        _calls()
    finding = examine(
        _outermost_only(raised.value), lambda: StatmSample(0, 0, limited - free_bytes)
    )

    assert finding.line.startswith("or below tests/") == is_late
    assert finding.line.endswith(" in _calls")
    assert finding.was_freed == is_late


def test_what_is_too_large_in_one_piece_has_its_line(limited: int) -> None:
    """However much is free: the innermost frame allocates by itself, or raises."""
    with pytest.raises(MemoryError) as raised:
        bytes(1) * (1 << 62)
    finding = examine(raised.value, lambda: StatmSample(0, 0, limited - 400 * MIB))

    assert finding.line.startswith("tests/web/test_outofmemory.py:")
    assert not finding.was_freed


class Block:
    """Something large."""


def test_frames_are_freed_along_the_whole_chain() -> None:
    """Also those of the errors that it was made of."""
    held: list[weakref.ref[Block]] = []

    def allocate(*, then: type[Exception]) -> None:
        block = Block()
        held.append(weakref.ref(block))
        raise then

    def convert() -> None:
        try:
            allocate(then=MemoryError)
        except MemoryError:
            allocate(then=LookupError)

    with pytest.raises(LookupError) as raised:
        convert()
    clear_frames(raised.value)

    assert [block() for block in held] == [None, None]


async def test_a_coroutine_that_waits_keeps_what_it_has() -> None:
    """As one that has caught the error and has a thread handle it: it goes on afterwards."""
    held: list[weakref.ref[Block]] = []
    caught: list[BaseException] = []
    handled = asyncio.Event()

    async def allocate() -> None:
        block = Block()
        held.append(weakref.ref(block))
        await asyncio.sleep(0)
        raise MemoryError

    async def answer() -> str:
        mine = "answered"
        try:
            await allocate()
        except MemoryError as error:
            caught.append(error)
            await handled.wait()
        return mine

    task = asyncio.create_task(answer())
    while not caught:  # noqa: ASYNC110 - it is a matter of two turns
        await asyncio.sleep(0)
    clear_frames(caught[0])
    assert held[0]() is None
    handled.set()

    assert await asyncio.wait_for(task, 5) == "answered"


def test_the_reserve_can_be_given_away_and_filled_again() -> None:
    """Twice does no harm: the room is there once, or not at all."""
    size, without = 64 * MIB, data_bytes()
    reserve = Reserve(size)
    for _ in range(2):
        reserve.release()
        reserve.release()
        assert data_bytes() - without < size / 2
        reserve.refill()
        reserve.refill()
        assert size / 2 < data_bytes() - without < size * 1.5
    reserve.release()


def test_a_reserve_that_cannot_be_filled_stays_empty() -> None:
    """Nobody hears of it: there is no room just now, and it is tried again later."""
    without = data_bytes()
    reserve = Reserve(1 << 60)
    reserve.refill()
    reserve.release()
    assert data_bytes() - without < MIB


def data_bytes() -> int:
    """Return how much private address space this process may write."""
    pages = Path("/proc/self/statm").read_text().split()[5]
    return int(pages) * resource.getpagesize()
