"""Memory that a running request asks for before it takes it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from tests.web.virtual import now, run
from tests.web.world import World, holding, turns

from tonnage.errors import MemoryShortError
from tonnage.governor import reservations
from tonnage.governor.reservations import reserved, taken
from tonnage.units import MIB
from tonnage.web.reserving import WAIT_SECONDS, Reserving
from tonnage.web.respond import Scope


@pytest.fixture(autouse=True)
def nobody_is_asked_afterwards() -> Iterator[None]:
    """As what is used applies to the whole process."""
    yield
    reservations.use(None)


def worker(index: int = 0, of: World | None = None, ceiling_mb: int = 100) -> World:
    """Return a worker whose code asks for memory; the second one shares the page of the first."""
    made = World(index=index, page=of.page) if of is not None else World(ceiling_mb=ceiling_mb)
    reservations.use(Reserving(made.desk, made.meter, made.gate.look))
    return made


def test_what_is_reserved_is_kept_from_other_requests() -> None:
    """They wait until it is left."""

    async def story() -> None:
        world = worker()
        world.handlers["/other"] = holding(60)
        await world.teach("/other")
        async with reserved(50 * MIB):
            [other] = world.start("/other")
            await asyncio.sleep(0.5)
            assert world.started == []
        await turns()
        assert world.started == ["/other"]
        assert (await other).status == 200

    run(story())


def test_what_does_not_fit_waits_for_what_ends() -> None:
    """And is granted then."""

    async def story() -> None:
        world = worker()
        world.handlers["/other"] = holding(60)
        await world.teach("/other")
        [other] = world.start("/other")
        await turns()
        begun = now()
        async with reserved(50 * MIB):
            assert 0.9 < now() - begun < 1.1
        assert (await other).status == 200

    run(story())


def test_whoever_waits_too_long_is_refused() -> None:
    """With 503, and the next one gets what there is."""

    async def story() -> None:
        world = worker()
        begun = now()
        with pytest.raises(MemoryShortError, match=r"needs 200 MB more.*in 2 s") as refused:
            async with reserved(200 * MIB):
                pass
        assert now() - begun == pytest.approx(WAIT_SECONDS, abs=0.1)
        assert refused.value.problem.status == 503
        assert (b"retry-after", b"2") in refused.value.problem.headers
        assert refused.value.problem.extra["reason"].endswith("did not come free in 2 s")
        async with reserved(90 * MIB):
            assert world.page.committed_bytes() == 90 * MIB
        assert world.page.committed_bytes() == 0

    run(story())


def test_what_a_request_was_let_in_for_is_not_counted_twice() -> None:
    """What is promised to its route is part of the 70 MB that it asks for, or more than them."""

    async def story() -> None:
        world = worker()
        promised: list[int] = []

        async def handle(world: World, scope: Scope) -> None:
            await asyncio.sleep(0)
            promised.append(world.page.committed_bytes() // MIB)
            async with reserved(70 * MIB):
                assert world.page.committed_bytes() == max(promised[-1], 70) * MIB
                world.memory.take(60)
            await asyncio.sleep(0.1)
            world.memory.take(-60)

        world.handlers["/known"] = handle
        await world.teach("/known", times=12)
        assert (await world.get("/known")).status == 200
        assert promised[0] < 70 < promised[-1]
        assert world.page.committed_bytes() == 0

    run(story())


def test_a_request_that_is_refused_on_its_way_is_answered_with_503() -> None:
    """Where the application lets it out."""

    async def story() -> None:
        world = worker()

        async def handle(world: World, scope: Scope) -> None:
            await asyncio.sleep(0)
            async with reserved(300 * MIB):
                raise AssertionError("never granted")

        world.handlers["/greedy"] = handle
        response = await world.get("/greedy")
        assert response.status == 503
        assert "300 MB" in response.json()["detail"]

    run(story())


def test_two_workers_share_what_there_is() -> None:
    """What one has set aside the other cannot have."""

    async def story() -> None:
        one = worker()
        async with reserved(60 * MIB):
            worker(1, of=one)
            with pytest.raises(MemoryShortError):
                async with reserved(60 * MIB):
                    pass
            async with reserved(30 * MIB):
                pass

    run(story())


def test_a_thread_waits_without_holding_up_the_loop() -> None:
    """And is led to the loop's thread, whose books they are."""

    async def story() -> None:
        world = worker()

        def work() -> int:
            with reserved(50 * MIB):
                return world.page.committed_bytes()

        def ask_for_too_much() -> None:
            with reserved(500 * MIB):
                pass

        assert await asyncio.to_thread(work) == 50 * MIB
        await turns()
        assert world.page.committed_bytes() == 0
        with pytest.raises(MemoryShortError):
            await asyncio.to_thread(ask_for_too_much)

    run(story())


def test_in_the_loops_own_thread_nobody_waits_in_vain() -> None:
    """There is nobody who could make room meanwhile."""

    async def story() -> None:
        worker()
        with (
            pytest.raises(MemoryShortError, match="which did not come free; try"),
            reserved(500 * MIB),
        ):
            pass
        with reserved(50 * MIB):
            pass

    run(story())


def test_what_callbacks_allocate_for_a_request_teaches_its_route() -> None:
    """The meter sees a request's own steps only; asyncpg makes rows between them."""

    async def story() -> None:
        world = worker()

        async def handle(world: World, scope: Scope) -> None:
            asyncio.get_running_loop().call_later(0.1, world.memory.take, 30)
            await asyncio.sleep(0.2)
            taken(30 * MIB)
            await asyncio.sleep(0.2)
            world.memory.take(-30)

        world.handlers["/rows"] = handle
        route = await world.teach("/rows")
        assert route.whole(100 * MIB).worst_bytes >= 30 * MIB

    run(story())


def test_a_loop_of_another_thread_is_not_held_up() -> None:
    """As that of the stores: what it asks for is kept by the worker's own, and given back."""

    async def story() -> None:
        world = worker()

        async def elsewhere() -> int:
            async with reserved(50 * MIB):
                return world.page.committed_bytes()

        assert await asyncio.to_thread(asyncio.run, elsewhere()) == 50 * MIB
        await turns()
        assert world.page.committed_bytes() == 0

    run(story())


def test_what_outlives_the_loop_is_left_without_a_word() -> None:
    """A thread that goes on after its worker's end has nobody to give anything back to."""
    kept, inside, may_leave = list[BaseException](), threading.Event(), threading.Event()

    def work() -> None:
        try:
            with reserved(50 * MIB):
                inside.set()
                may_leave.wait(5.0)
        except BaseException as error:  # noqa: BLE001 - what comes is what is looked for
            kept.append(error)

    thread = threading.Thread(target=work)

    async def story() -> None:
        worker()
        thread.start()
        await asyncio.to_thread(inside.wait, 5.0)

    run(story())
    may_leave.set()
    thread.join()
    assert (inside.is_set(), kept) == (True, [])


async def test_outside_a_worker_all_is_granted() -> None:
    """Under another server nobody knows how much there is."""
    async with reserved(1 << 50):
        pass
    with reserved(1 << 50):
        pass
    taken(1 << 50)
