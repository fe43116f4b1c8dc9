"""Thread pools are bounded, and known by request."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from anyio import to_thread
from tests.support.forking import fork, status_of
from tests.web.virtual import run
from tests.web.world import World, turns, until

from tonnage.units import MIB
from tonnage.web.meter import current_request
from tonnage.web.respond import Scope
from tonnage.web.threads import (
    PULSE_SECONDS,
    STACK_BYTES,
    AnyioThreads,
    MeteredExecutor,
    Stacks,
    bound_stacks,
)

Run = Callable[[Callable[[], object]], object]


@pytest.fixture
def stack_size() -> Iterator[None]:
    """Put the size of threads' stacks back."""
    before = threading.stack_size()
    yield
    threading.stack_size(before)


@pytest.mark.usefixtures("stack_size")
def test_stacks_are_bounded() -> None:
    """Threads started from now on have 1 MB."""
    bound_stacks()

    assert threading.stack_size() == STACK_BYTES == MIB


def test_stacks_stay_reserved_when_their_threads_have_ended() -> None:
    """The C library keeps them for the next ones; a thread more is a stack more."""

    def story() -> None:
        stacks, leave = Stacks(), threading.Event()
        assert stacks.reserved_bytes() == STACK_BYTES
        thread = threading.Thread(target=leave.wait)
        thread.start()
        assert stacks.reserved_bytes() == 2 * STACK_BYTES
        leave.set()
        thread.join()
        assert stacks.reserved_bytes() == 2 * STACK_BYTES

    # Without the threads of other tests, which may be about to end.
    assert status_of(fork(story)) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="counted in /proc")
def test_stacks_of_threads_that_are_not_pythons_are_counted_too() -> None:
    """uvloop's, which it starts for the first look-up of a name, have 8 MB each."""
    pytest.importorskip("uvloop")
    code = """
import asyncio, uvloop
from tonnage.web.threads import Stacks

async def main():
    stacks = Stacks()
    print(stacks.foreign_bytes())
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    await asyncio.to_thread(lambda: None)
    print(stacks.foreign_bytes())

uvloop.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = (int(line) for line in done.stdout.split())

    assert before == 0
    assert after == 4 * resource.getrlimit(resource.RLIMIT_STACK)[0]


@pytest.mark.parametrize("way", [asyncio.to_thread, to_thread.run_sync])
def test_growth_in_a_thread_is_charged_to_its_request(way: Run) -> None:
    """Both asyncio's pool and anyio's are watched."""

    async def story() -> None:
        world = World()
        world.install()
        go_on = threading.Event()

        def work() -> None:
            go_on.wait(5)
            world.memory.take(8)

        async def handle(world: World, scope: Scope) -> None:
            await way(work)  # type: ignore[misc]

        world.handlers["/work"] = handle
        task = world.start("/work")[0]
        await turns()
        go_on.set()
        await task

        assert world.cost("/work").worst_bytes == 8 * MIB

    run(story())


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


def test_a_synchronous_route_behind_middleware_is_charged() -> None:
    """Starlette's middleware runs the application in a task of its own."""

    async def story() -> None:
        world = World()
        world.install()

        go_on = threading.Event()

        def work() -> None:
            go_on.wait(5)
            world.memory.take(8)

        async def handle(world: World, scope: Scope) -> None:
            await asyncio.create_task(to_thread.run_sync(work))

        world.handlers["/work"] = handle
        task = world.start("/work")[0]
        await turns()
        go_on.set()
        await task

        assert world.cost("/work").worst_bytes == 8 * MIB

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
