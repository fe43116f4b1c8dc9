"""MemoryErrors that surface in no request are freed, named and counted."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from tests.web.virtual import run
from tests.web.world import World, turns

from tonnage.units import MIB
from tonnage.web.respond import Scope
from tonnage.web.strays import GRACE_SECONDS

# What the application keeps, and what its frames held.
kept: list[asyncio.Future[None]] = []
held: list[weakref.ref[Block]] = []


class Block:
    """Something large."""


def burst() -> None:
    """Allocate, until it does not fit."""
    block = Block()
    held.append(weakref.ref(block))
    raise MemoryError


async def burst_later() -> None:
    """Do so in a task."""
    await asyncio.sleep(0)
    burst()


@pytest.fixture(autouse=True)
def without_help() -> Iterator[None]:
    """Collect no garbage meanwhile, and forget what was kept."""
    # The worker's own takes its place.
    hook = threading.excepthook
    gc.disable()
    yield
    gc.enable()
    threading.excepthook = hook
    kept.clear()
    held.clear()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged as an error."""
    return [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]


def tell(begin: Callable[[], object], *, world: World | None = None) -> World:
    """Return the world after a request to /work has called *begin* and was answered."""
    world = world or World()

    async def handle(world: World, scope: Scope) -> None:
        world.memory.take(30)
        begin()

    async def story() -> None:
        world.install()
        world.handlers["/work"] = handle
        assert (await world.get("/work")).status == 200
        await turns()
        # Whatever is kept of it, what it had allocated is not.
        assert [block() for block in held] == [None]
        await asyncio.sleep(GRACE_SECONDS)

    run(story())
    return world


def keep(task: Coroutine[Any, Any, None]) -> None:
    """Start a task, and never look at it again."""
    kept.append(asyncio.create_task(task))


def test_a_task_that_nobody_awaits_is_named_with_its_route(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once; asyncio has no more to say when it is dropped."""
    world = tell(lambda: keep(burst_later()))
    kept.clear()

    (line,) = errors(caplog)
    assert line.startswith("a task of GET /work ran out of memory at tests/web/test_strays.py:")
    assert line.endswith(" in burst: no request waits for it; the worker held 30 MB then")
    assert (world.slot.memory_errors, world.checks) == (1, 1)
    assert world.failures == []


def test_a_task_that_is_dropped_at_once_is_named_too(caplog: pytest.LogCaptureFixture) -> None:
    """As most are."""
    world = tell(lambda: asyncio.create_task(burst_later()))

    assert [line.partition(" ran out")[0] for line in errors(caplog)] == ["a task of GET /work"]
    assert world.checks == 1


def test_a_task_whose_error_is_looked_at_is_the_applications(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is freed, and nothing is said."""

    def begin() -> None:
        keep(burst_later())
        kept[0].add_done_callback(lambda task: task.exception())

    world = tell(begin)

    assert errors(caplog) == []
    assert world.checks == 0


def test_a_task_that_is_awaited_is_told_of_by_its_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once, with what the worker held before its frames were freed."""
    world = World()

    async def burst_here() -> None:
        world.memory.take(20)
        burst()

    async def handle(world: World, scope: Scope) -> None:
        await asyncio.create_task(burst_here())

    async def story() -> None:
        world.install()
        world.handlers["/work"] = handle
        assert (await world.get("/work")).status == 503
        await asyncio.sleep(2 * GRACE_SECONDS)

    run(story())

    (line,) = errors(caplog)
    assert line.startswith("GET /work ran out of memory at tests/web/test_strays.py:")
    assert world.slot.memory_errors == 1


def test_a_callback_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """The event loop reports its error."""
    world = tell(lambda: asyncio.get_running_loop().call_soon(burst))

    (line,) = errors(caplog)
    assert line.startswith("a callback ran out of memory at tests/web/test_strays.py:")
    assert (world.slot.memory_errors, world.checks) == (1, 1)


def test_what_is_started_outside_of_any_task_is_told_of_when_it_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As from a callback."""

    def start() -> None:
        asyncio.get_running_loop().create_task(burst_later())

    tell(lambda: asyncio.get_running_loop().call_soon(start))

    (line,) = errors(caplog)
    assert line.startswith("work that nobody awaits ran out of memory at ")


def test_a_thread_of_the_applications_own_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """In the event loop, with the thread's name."""
    world = World()

    async def story() -> None:
        world.install()
        thread = threading.Thread(target=burst, name="export")
        thread.start()
        thread.join()
        await turns()
        assert world.checks == 1

    run(story())

    (line,) = errors(caplog)
    assert line.startswith("thread export ran out of memory at tests/web/test_strays.py:")
    assert held[0]() is None
    assert world.slot.memory_errors == 1


def test_other_errors_go_where_they_went() -> None:
    """To the handlers that were there before."""
    told: list[BaseException | None] = []

    def fail() -> None:
        raise LookupError

    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
        threading.excepthook = lambda args: told.append(args.exc_value)
        World().install()
        loop.call_soon(fail)
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        await turns()

    run(story())

    assert [type(error) for error in told] == [LookupError, LookupError]


def test_without_a_handler_before_ours_asyncio_reports_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In its own words."""

    async def story() -> None:
        World().install()
        asyncio.get_running_loop().call_exception_handler({"message": "something else"})

    run(story())

    assert errors(caplog) == ["something else"]


def test_each_error_of_a_request_is_freed() -> None:
    """Not the first one alone."""

    async def handle(world: World, scope: Scope) -> None:
        for _ in range(2):
            keep(burst_later())

    async def story() -> None:
        world = World()
        world.install()
        world.handlers["/work"] = handle
        await world.get("/work")
        await turns()
        assert [block() for block in held] == [None, None]

    run(story())


def test_only_what_is_held_of_its_own_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Not what the worker shares with others."""
    world = World()
    world.slot.baseline_bytes = 25 * MIB
    tell(lambda: keep(burst_later()), world=world)

    assert errors(caplog)[0].endswith("the worker held 5 MB then")
