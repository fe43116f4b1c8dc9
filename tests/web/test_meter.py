"""Growth is charged to the request whose step it came from."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import anyio
import pytest
from tests.web.virtual import run
from tests.web.world import World, holding, http

from tonnage.governor.admission import Request
from tonnage.governor.costs import RouteCost
from tonnage.governor.page import SharedPage
from tonnage.units import MIB
from tonnage.web.meter import Metered, current_request
from tonnage.web.respond import Scope


def request() -> Request:
    """Return a request of some route."""
    return Request(RouteCost("GET /", SharedPage().cost_numbers(0)), arrived_seconds=0.0)


async def take(world: World, mb: float) -> None:
    """Allocate in a task of its own."""
    await asyncio.sleep(0)
    world.memory.take(mb)


async def in_gather(world: World) -> None:
    """Use asyncio's own way of starting tasks."""
    await asyncio.gather(take(world, 3), take(world, 5))


async def in_task_group(world: World) -> None:
    """Use structured concurrency."""
    async with asyncio.TaskGroup() as group:
        group.create_task(take(world, 3), name="three")
        group.create_task(take(world, 5))


async def in_anyio_group(world: World) -> None:
    """Use what Starlette's middleware uses."""
    async with anyio.create_task_group() as group:
        group.start_soon(take, world, 3)
        group.start_soon(take, world, 5)


@pytest.mark.parametrize("way", [in_gather, in_task_group, in_anyio_group])
def test_tasks_that_a_request_starts_are_charged_to_it(way: Any) -> None:
    """However they are started, what they allocate is the request's."""

    async def story() -> None:
        world = World()
        world.install()

        async def handle(world: World, scope: Scope) -> None:
            await way(world)

        world.handlers["/work"] = handle
        await world.get("/work")

        assert world.cost("/work").worst_bytes == 8 * MIB

    run(story())


def test_requests_that_interleave_are_charged_each_for_its_own() -> None:
    """One grows while the other waits."""

    async def story() -> None:
        world = World(ceiling_mb=1000)
        world.install()

        def steps(mb: float) -> Any:
            async def handle(world: World, scope: Scope) -> None:
                for _ in range(4):
                    world.memory.take(mb)
                    await asyncio.sleep(0)
                world.memory.take(-4 * mb)

            return handle

        world.handlers.update({"/one": steps(1), "/five": steps(5)})
        await asyncio.gather(*world.start("/one", "/five"))

        assert world.cost("/one").worst_bytes == 4 * MIB
        assert world.cost("/five").worst_bytes == 20 * MIB

    run(story())


def test_growth_in_nobodys_step_is_nobodys() -> None:
    """The server's own buffers, say."""

    async def story() -> None:
        world = World()

        async def handle(world: World, scope: Scope) -> None:
            await asyncio.sleep(1)

        world.handlers["/work"] = handle
        task = world.start("/work")[0]
        await asyncio.sleep(0.5)
        world.memory.take(50)
        await task

        assert world.cost("/work").worst_bytes == 0

    run(story())


def test_a_task_of_a_request_that_has_ended_is_not_metered() -> None:
    """A server may start a connection's next request in the context of the last one."""

    async def story() -> None:
        world = World()
        world.install()
        old = request()
        old.has_ended = True
        token = current_request.set(old)
        task = asyncio.ensure_future(take(world, 8))
        current_request.reset(token)
        await task

        assert old.first_bytes == old.later_bytes == 0

    run(story())


def test_cancelling_a_group_reaches_metered_tasks() -> None:
    """The group asks a task's coroutine for its state, and gets the true one."""

    async def story() -> None:
        world = World()
        world.install()
        ended: list[str] = []

        async def forever() -> None:
            try:
                await asyncio.sleep(1e6)
            finally:
                ended.append("cancelled")

        async def handle(world: World, scope: Scope) -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(forever)
                await asyncio.sleep(1)
                group.cancel_scope.cancel()

        world.handlers["/work"] = handle
        await world.get("/work")

        assert ended == ["cancelled"]

    run(story())


def test_an_error_thrown_in_is_a_step_of_the_request() -> None:
    """What is allocated while handling a cancellation is its growth, too."""

    async def story() -> None:
        world = World()
        world.install()
        released = asyncio.Event()

        async def handle(world: World, scope: Scope) -> None:
            try:
                await released.wait()
            except asyncio.CancelledError:
                world.memory.take(8)
                raise

        world.handlers["/work"] = handle
        task = world.start("/work")[0]
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert world.cost("/work").worst_bytes == 8 * MIB

    run(story())


def test_a_metered_coroutine_is_driven_as_it_is() -> None:
    """Values, errors, closing and what debuggers ask for pass through."""

    async def story() -> None:
        world = World()
        closed: list[str] = []

        async def inner() -> str:
            try:
                await asyncio.sleep(1)
            finally:
                closed.append("closed")
            return "value"

        mine = request()
        assert await Metered(inner(), world.meter, mine) == "value"

        abandoned = Metered(inner(), world.meter, mine)
        assert abandoned.request is mine
        assert inspect.getcoroutinestate(abandoned) == inspect.CORO_CREATED
        assert iter(abandoned) is abandoned
        next(abandoned)
        assert abandoned.cr_frame.f_code.co_name == "inner"
        abandoned.close()
        assert closed == ["closed", "closed"]
        with pytest.raises(AttributeError):
            _ = abandoned.no_such_name

    run(story())


def test_what_is_kept_by_the_allocator_is_not_growth() -> None:
    """A request that spends room freed before it still costs what it costs."""

    async def story() -> None:
        world = World()

        async def handle(world: World, scope: Scope) -> None:
            # 8 MB out of what the allocator kept: the process does not grow.
            world.memory.kept_mb -= 8
            await asyncio.sleep(0)
            world.memory.kept_mb += 8

        world.memory.private_mb = world.memory.kept_mb = 20
        world.handlers["/work"] = handle
        await world.get("/work")

        assert world.cost("/work").worst_bytes == 8 * MIB
        assert world.routes.find(http("/work")).is_known is False

    run(story())


def test_a_look_that_finds_no_memory_ends_no_request() -> None:
    """Nor is it charged for what others take after it."""

    async def story() -> None:
        world = World()
        fails = False

        def read() -> int:
            nonlocal fails
            if fails:
                fails = False
                raise MemoryError
            return world.memory.data_bytes()

        async def handle(world: World, scope: Scope) -> None:
            nonlocal fails
            world.memory.take(8)
            fails = True
            await asyncio.sleep(1)
            world.memory.take(-8)
            fails = True

        world.meter._read = read
        world.handlers["/work"] = handle
        assert (await world.get("/work")).status == 200
        assert world.desk.in_flight == set()
        fails = False
        world.handlers["/other"] = holding(8)
        await world.get("/other")
        assert world.cost("/other").worst_bytes == 8 * MIB

    run(story())
