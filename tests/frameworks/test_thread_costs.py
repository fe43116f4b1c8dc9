"""Frameworks run synchronous code in threads of their own; the meter knows of those too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from anyio import to_thread
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from starlette.concurrency import run_in_threadpool
from tests.web.virtual import run
from tests.web.world import World, turns, until

from tonnage.units import MIB
from tonnage.web.respond import Scope
from tonnage.web.threads import PULSE_SECONDS

Work = Callable[[], None]


async def in_django(work: Work) -> None:
    """Run as Django under ASGI runs a synchronous view: in a thread of the request."""
    async with ThreadSensitiveContext():
        await sync_to_async(work, thread_sensitive=True)()


async def in_own_pool(work: Work) -> None:
    """Run as an application does that brings its own executor."""
    with ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, work)


async def in_task_group(work: Work) -> None:
    """Run as Starlette's middleware does, one task further down."""
    async with asyncio.TaskGroup() as group:
        group.create_task(run_in_threadpool(work))


WAYS: list[Callable[[Work], Any]] = [
    asyncio.to_thread,
    to_thread.run_sync,
    run_in_threadpool,
    in_task_group,
    in_django,
    in_own_pool,
]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_thread_allocates_is_charged_to_its_request(way: Callable[[Work], Any]) -> None:
    """Whoever owns the thread."""

    async def story() -> None:
        world = World()
        world.install()
        go_on = threading.Event()

        def work() -> None:
            go_on.wait(5)
            world.memory.take(8)

        async def handle(world: World, scope: Scope) -> None:
            await way(work)

        world.handlers["/work"] = handle
        task = world.start("/work")[0]
        await turns()
        go_on.set()
        await task

        assert world.cost("/work").worst_bytes == 8 * MIB

    run(story())


@pytest.mark.parametrize("way", WAYS)
def test_what_a_thread_allocates_and_frees_again_is_seen(way: Callable[[Work], Any]) -> None:
    """The event loop may have nothing to do in between, so the meter looks by itself."""

    async def story() -> None:
        world = World()
        world.install()
        taken, go_on = threading.Event(), threading.Event()

        def work() -> None:
            world.memory.take(8)
            taken.set()
            go_on.wait(5)
            world.memory.take(-8)

        async def handle(world: World, scope: Scope) -> None:
            await way(work)

        world.handlers["/work"] = handle
        task = world.start("/work")[0]
        await until(taken.is_set)
        await asyncio.sleep(2 * PULSE_SECONDS)
        go_on.set()
        await task

        assert world.cost("/work").worst_bytes == 8 * MIB

    run(story())


def test_work_that_waits_for_a_thread_is_charged_nothing() -> None:
    """Or a full pool would make its requests look cheaper than they are."""

    async def story() -> None:
        world = World()
        world.install()
        both_in, go_on = threading.Barrier(3, timeout=5), threading.Event()

        def work() -> None:
            both_in.wait()
            go_on.wait(5)

        async def running(world: World, scope: Scope) -> None:
            await asyncio.to_thread(work)

        async def waiting(world: World, scope: Scope) -> None:
            await asyncio.to_thread(int)

        world.handlers.update({"/one": running, "/two": running, "/waiting": waiting})
        tasks = world.start("/one", "/two", "/waiting")
        await turns()
        both_in.wait()
        world.memory.take(12)
        await asyncio.sleep(2 * PULSE_SECONDS)
        world.memory.take(-12)
        go_on.set()
        await asyncio.gather(*tasks)

        assert world.cost("/one").worst_bytes + world.cost("/two").worst_bytes == 12 * MIB
        assert world.cost("/waiting").worst_bytes == 0

    run(story())
