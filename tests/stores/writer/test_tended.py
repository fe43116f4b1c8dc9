"""A writer's task: what ends it, and what does not."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest
from tests.support.waiting import until

from tonnage.stores.writer.closing import LEAST_SECONDS, SINK_SECONDS, Deadline
from tonnage.stores.writer.notices import told
from tonnage.stores.writer.tended import Tended


@pytest.mark.parametrize(
    "error", [ValueError("x"), asyncio.CancelledError(), SystemExit(1), KeyboardInterrupt(), None]
)
async def test_it_begins_anew_whatever_ends_it(
    error: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    """With one line for a reason, that has the traceback, if there was an error."""
    begun = 0

    async def run() -> None:
        nonlocal begun
        begun += 1
        if begun == 3:
            await asyncio.Event().wait()
        if error is not None:
            raise error

    tended = Tended("test", run, rest_seconds=0.001)
    await until(lambda: begun == 3)
    (line,) = caplog.messages
    assert line.startswith("writer test: its task has ended, and begins anew: ")
    assert line.endswith("it has returned" if error is None else told(error))
    assert (caplog.records[0].exc_info is not None) == bool(error)
    await tended.stop(1)
    assert (begun, len(caplog.records)) == (3, 1)


async def test_another_reason_is_another_line(caplog: pytest.LogCaptureFixture) -> None:
    """And the first one again is one more, since something has changed meanwhile."""
    errors = [OSError("full"), OSError("full"), ValueError("x"), OSError("full")]

    async def run() -> None:
        if not errors:
            await asyncio.Event().wait()
        raise errors.pop(0)

    tended = Tended("test", run, rest_seconds=0.001)
    await until(lambda: not errors)
    await tended.stop(1)

    reasons = [line.rpartition("anew: ")[2] for line in caplog.messages]
    assert reasons == ["OSError: full", "ValueError: x", "OSError: full"]


async def test_it_waits_for_memory_ever_longer_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody has made a mistake: no traceback, and no line each second."""
    times: list[float] = []

    async def run() -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 6:
            await asyncio.Event().wait()
        raise MemoryError("there is no room for another thread")

    tended = Tended("revenue", run, rest_seconds=0.01)
    await until(lambda: len(times) == 6)
    await tended.stop(1)

    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert record.getMessage() == (
        "writer revenue: there is no memory for its task just now, which begins anew: "
        "MemoryError: there is no room for another thread"
    )
    rests = [after - before for before, after in pairwise(times)]
    assert all(rest >= 0.01 * 2**number for number, rest in enumerate(rests))


async def test_others_cannot_cancel_it(caplog: pytest.LogCaptureFixture) -> None:
    """Neither while it works nor while it rests."""
    begun = 0

    async def run() -> None:
        nonlocal begun
        begun += 1
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    tended = Tended("test", run, rest_seconds=0.01)
    (task,) = asyncio.all_tasks() - before
    await until(lambda: begun == 1)
    task.cancel()
    await until(lambda: caplog.records)
    task.cancel()
    await until(lambda: begun == 2)
    await tended.stop(1)
    assert task.done()


async def test_stopping_it_ends_in_time() -> None:
    """Also where it does not want to end."""
    is_over = asyncio.Event()

    async def run() -> None:
        while not is_over.is_set():
            with suppress(asyncio.CancelledError):
                await is_over.wait()

    before = asyncio.all_tasks()
    tended = Tended("test", run)
    (task,) = asyncio.all_tasks() - before
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await tended.stop(0.01)
    assert not task.done()
    is_over.set()
    await asyncio.wait([task], timeout=1)
    assert task.done()


def test_a_part_of_the_time_to_close_is_the_sinks() -> None:
    """A quarter, two seconds at most; and a little even if all is used up."""
    now = [0.0]
    deadline = Deadline(4, lambda: now[0])
    assert (deadline.for_delivering_seconds, deadline.for_sink_seconds) == (3, 4)
    now[0] = 3
    assert (deadline.for_delivering_seconds, deadline.for_sink_seconds) == (0, 1)
    now[0] = 5
    assert (deadline.for_delivering_seconds, deadline.for_sink_seconds) == (0, LEAST_SECONDS)
    assert Deadline(60, lambda: 0).for_delivering_seconds == 60 - SINK_SECONDS
