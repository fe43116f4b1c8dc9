"""Thread pools are bounded, and known by request."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from anyio import to_thread
from tests.web.virtual import run
from tests.web.world import World, turns, until

from tonnage.governor.admission import Request
from tonnage.governor.costs import KNOWN_AFTER
from tonnage.units import MIB
from tonnage.web.gate import SAMPLE_EVERY
from tonnage.web.meter import current_request
from tonnage.web.respond import Scope
from tonnage.web.threads import PULSE_SECONDS, AnyioThreads, MeteredExecutor


def test_growth_is_shared_by_those_who_are_in_a_thread() -> None:
    """Nobody can tell which of two threads allocated it."""

    async def story() -> None:
        world = World(ceiling_mb=1000)
        world.install()
        both_in, go_on = threading.Barrier(3, timeout=5), threading.Event()

        def work() -> None:
            both_in.wait()
            go_on.wait(5)

        async def handle(world: World, scope: Scope) -> None:
            await asyncio.to_thread(work)

        world.handlers.update({"/one": handle, "/two": handle})
        tasks = world.start("/one", "/two")
        await turns()
        both_in.wait()
        world.memory.take(12)
        await asyncio.sleep(2 * PULSE_SECONDS)
        world.memory.take(-12)
        go_on.set()
        await asyncio.gather(*tasks)

        assert world.cost("/one").worst_bytes == 6 * MIB
        assert world.cost("/two").worst_bytes == 6 * MIB

    run(story())


def test_threads_of_nobodys_request_are_charged_to_nobody() -> None:
    """A task of the application's own, started with it."""

    async def story() -> None:
        world = World()
        world.install()
        go_on = threading.Event()
        own = asyncio.create_task(to_thread.run_sync(go_on.wait))
        await turns()

        assert world.threads.busy() == set()
        go_on.set()
        await own
        await asyncio.to_thread(int)
        assert world.executor.busy == set()

    run(story())


def test_a_request_with_two_threads_is_busy_until_the_second_ends() -> None:
    """And its end is told once for each."""

    async def story() -> None:
        world = World()
        world.install()
        first, second = threading.Event(), threading.Event()

        async def handle(world: World, scope: Scope) -> None:
            await asyncio.gather(asyncio.to_thread(first.wait), asyncio.to_thread(second.wait))

        world.handlers["/work"] = handle
        task = world.start("/work")[0]
        await until(lambda: bool(world.executor.busy))
        (busy,) = world.executor.busy
        first.set()
        await until(lambda: busy.threads == 1)

        await until(lambda: world.executor.busy == {busy})
        second.set()
        await task
        assert world.executor.busy == set()

    run(story())


def test_what_a_request_has_left_behind_works_for_itself() -> None:
    """A task that outlives it, such as a driver's own, has its context; it left its place once."""

    async def story() -> None:
        world = World()
        world.install()
        left_behind: list[asyncio.Task[None]] = []
        has_answered, go_on = asyncio.Event(), threading.Event()

        async def work() -> None:
            await has_answered.wait()
            await asyncio.to_thread(go_on.wait, 5)

        async def handle(world: World, scope: Scope) -> None:
            left_behind.append(asyncio.create_task(work()))

        world.handlers["/work"] = handle
        await world.start("/work")[0]
        has_answered.set()
        await turns()
        assert world.executor.busy == set()
        go_on.set()
        await left_behind[0]

    run(story())


def test_a_sampled_request_is_not_kept_for_what_its_thread_held() -> None:
    """Small requests do not come to the desk, which would let go of them."""

    async def story() -> None:
        world = World()
        world.install()

        async def handle(world: World, scope: Scope) -> None:
            await asyncio.to_thread(int)

        world.handlers["/sampled"] = handle
        for _ in range(6 * SAMPLE_EVERY):
            (task,) = world.start("/sampled")
            await task
        assert world.cost("/sampled").is_small
        assert world.cost("/sampled").total_observations > KNOWN_AFTER

        await asyncio.sleep(4 * PULSE_SECONDS)  # a pulse keeps the context it was started in
        gc.collect()
        there = [each for each in gc.get_objects() if type(each) is Request]
        assert not [each for each in there if "/sampled" in each.route.name]

    # The virtual loop keeps timers that are over.
    asyncio.run(story())


def test_work_handed_in_by_a_thread_is_left_to_that_thread() -> None:
    """There is no event loop to tell of its end."""

    async def story() -> None:
        world = World()
        world.install()

        async def handle(world: World, scope: Scope) -> None:
            await asyncio.to_thread(lambda: world.executor.submit(int).result())

        world.handlers["/work"] = handle

        assert (await world.get("/work")).status == 200
        assert world.executor.busy == set()

    run(story())


def test_the_pool_has_as_many_threads_as_it_was_given() -> None:
    """It is asyncio's default executor, so it must be of that class."""
    with MeteredExecutor(3, lambda request: None, lambda: None) as executor:
        assert isinstance(executor, ThreadPoolExecutor)
        assert executor._max_workers == 3


def test_anyios_pool_is_bounded() -> None:
    """FastAPI would otherwise run 40 threads."""

    async def story() -> None:
        AnyioThreads(7, lambda: None).bind()

        assert to_thread.current_default_thread_limiter().total_tokens == 7

    run(story())


def test_an_application_without_anyio_has_no_such_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is imported on its behalf."""

    async def story() -> None:
        monkeypatch.delitem(sys.modules, "anyio")
        world = World()
        await world.get("/work")

        assert "anyio" not in sys.modules
        assert world.threads.busy() == ()
        assert current_request.get() is None

    run(story())
