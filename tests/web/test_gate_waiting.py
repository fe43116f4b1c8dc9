"""The gate: who waits, for whom, and how a place is given back."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.web.virtual import now, run
from tests.web.world import World, holding, turns, until

from tonnage.governor.levels import Level
from tonnage.units import MIB
from tonnage.web.respond import Scope


def test_exhausted_with_somebody_in_flight_waits_for_them() -> None:
    """Their end makes room."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(60)
        await world.teach("/work")
        running = world.start("/work")
        await turns()
        world.page.header.level = Level.EXHAUSTED

        assert (await world.get("/work")).status == 200
        await asyncio.gather(*running)

    run(story())


def test_a_request_that_does_not_fit_starts_when_it_is_alone() -> None:
    """Its cost may be overestimated, and nobody else would ever correct the estimate."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(60)
        await world.teach("/work")
        world.page.header.workers_ceiling_bytes = 20 * MIB

        assert (await world.get("/work")).status == 200

    run(story())


def test_of_many_that_do_not_fit_one_at_a_time_starts() -> None:
    """Being alone is a reason for one of those who wait, not for all of them."""

    async def story() -> None:
        world = World(wait_seconds=30)
        world.handlers["/work"] = holding(60)
        await world.teach("/work")
        tasks = world.start(*["/work"] * 5)
        await turns()
        world.page.header.workers_ceiling_bytes = 20 * MIB

        await asyncio.gather(*tasks)

        assert world.memory.most_mb == 60

    run(story())


def test_room_made_by_another_worker_is_noticed() -> None:
    """Two workers share the ceiling; who waits looks every few milliseconds."""

    async def story() -> None:
        one = World()
        two = World(page=one.page, index=1)
        one.handlers["/work"] = two.handlers["/work"] = holding(60)
        await one.teach("/work")
        running = one.start("/work")
        await turns()
        begun = now()

        assert (await two.get("/work")).status == 200

        assert now() - begun == pytest.approx(2.0, abs=0.02)
        assert two.slot.waited == 1
        await asyncio.gather(*running)

    run(story())


@pytest.mark.parametrize(("beats", "order"), [(True, ["one", "two"]), (False, ["two", "one"])])
def test_a_worker_leaves_room_to_one_that_has_waited_longer(beats: bool, order: list[str]) -> None:
    """Else who frees memory would be the first to take it; a stuck worker is not waited for."""

    async def story() -> None:
        one = World(wait_seconds=30)
        two = World(page=one.page, index=1)
        started: list[str] = []

        async def handle(world: World, scope: Scope) -> None:
            started.append("one" if world is one else "two")
            await holding(60)(world, scope)

        one.handlers["/work"] = two.handlers["/work"] = handle
        await two.teach("/work")
        started.clear()
        running = two.start("/work")
        await turns()
        first = one.start("/work")
        await asyncio.sleep(0.5)
        second = two.start("/work")
        await asyncio.sleep(0.49)
        if beats:
            one.slot.heartbeat_nanoseconds = int(now() * 1e9)

        await asyncio.gather(*running, *first, *second)

        assert started == ["two", *order]

    run(story())


def test_the_queues_bound_is_that_of_all_workers() -> None:
    """Who waits elsewhere takes a place, too."""

    async def story() -> None:
        one = World(queue_limit=2)
        two = World(page=one.page, index=1, queue_limit=2)
        one.handlers["/work"] = two.handlers["/work"] = holding(60)
        await one.teach("/work")
        tasks = [*one.start("/work", "/work"), *two.start("/work")]
        await asyncio.sleep(0.1)

        assert (await two.get("/work")).status == 503
        assert {answer.status for answer in await asyncio.gather(*tasks)} == {200}

    run(story())


def test_what_one_worker_learned_the_other_knows() -> None:
    """Costs are in the shared page."""

    async def story() -> None:
        one = World()
        two = World(page=one.page, index=1)
        one.handlers["/work"] = holding(8)
        await one.teach("/work")

        assert two.cost("/work").is_known

    run(story())


def test_a_client_that_leaves_the_queue_gives_its_place_back() -> None:
    """Who comes after it is not held up, and nothing stays reserved."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(60)
        await world.teach("/work")
        first, second, third = world.start("/work", "/work", "/work")
        await turns()

        second.cancel()
        await turns()

        assert second.cancelled()
        assert world.desk.waiting == 1
        assert (await third).status == 200
        await first
        assert (world.slot.in_flight, world.slot.promised_bytes) == (0, 0)

    run(story())


def test_cancelled_in_the_moment_of_being_let_in_gives_the_place_back() -> None:
    """The place was granted, but nobody is there to use it."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(60)
        await world.teach("/work")
        first, second, third = world.start("/work", "/work", "/work")
        await turns()

        world.page.header.workers_ceiling_bytes = 130 * MIB
        world.gate.look()
        second.cancel()
        await turns()

        assert second.cancelled()
        assert len(world.desk.in_flight) == 2
        assert world.started == ["/work", "/work"]
        await asyncio.gather(first, third)

    run(story())


@pytest.mark.parametrize(
    ("sooner_seconds", "status", "in_flight"), [(1e-10, 200, 2), (-1e-10, 503, 1)]
)
def test_room_that_comes_in_the_moment_of_the_deadline_is_used_or_left(
    sooner_seconds: float, status: int, in_flight: int
) -> None:
    """In the same turn of the loop: what comes first holds, and no place is lost."""

    async def story() -> None:
        world = World(wait_seconds=1.0)
        world.handlers["/work"] = holding(60, seconds=5.0)
        await world.teach("/work")
        first, second = world.start("/work", "/work")
        await turns()

        def make_room() -> None:
            world.page.header.workers_ceiling_bytes = 1000 * MIB
            world.gate.look()

        asyncio.get_running_loop().call_at(now() + 1.0 - sooner_seconds, make_room)
        await asyncio.sleep(1.5)

        assert len(world.desk.in_flight) == in_flight
        assert (await second).status == status
        await first

    run(story())


def test_an_error_in_the_application_frees_its_place() -> None:
    """It passes through, and what was seen is learned."""

    async def story() -> None:
        world = World()

        async def fail(world: World, scope: Scope) -> None:
            world.memory.take(8)
            raise LookupError

        world.handlers["/work"] = fail
        with pytest.raises(LookupError):
            await world.get("/work")

        assert world.desk.in_flight == set()
        assert world.cost("/work").worst_bytes == 8 * MIB

    run(story())


def test_work_in_a_thread_keeps_its_reservation_until_the_thread_ends() -> None:
    """A thread cannot be cancelled, so its request's end does not free its memory."""

    async def story() -> None:
        world = World()
        world.install()
        go_on = threading.Event()

        async def handle(world: World, scope: Scope) -> None:
            await asyncio.to_thread(go_on.wait)

        world.handlers["/work"] = handle
        task = world.start("/work")[0]
        await turns()
        task.cancel()
        await turns()

        assert task.cancelled()
        assert world.slot.in_flight == 1
        assert world.slot.promised_bytes > 0
        go_on.set()
        await until(lambda: not world.slot.in_flight)
        assert world.slot.promised_bytes == 0

    run(story())


def test_a_task_left_behind_does_not_end_its_request_twice() -> None:
    """Work in a thread after the response is nobody's reservation, and frees none."""

    async def story() -> None:
        world = World()
        world.install()
        left: list[asyncio.Task[None]] = []

        async def afterwards() -> None:
            await asyncio.sleep(1)
            await asyncio.to_thread(int)

        async def handle(world: World, scope: Scope) -> None:
            left.append(asyncio.create_task(afterwards()))

        world.handlers["/left"] = handle
        await world.get("/left")
        await left[0]
        await turns(10)

        # One observation: two at once may be in flight, no more.
        world.handlers["/left"] = holding(1)
        tasks = world.start("/left", "/left", "/left")
        await turns()
        assert world.slot.in_flight == 2
        await asyncio.gather(*tasks)

    run(story())


def test_a_place_is_given_back_that_there_was_no_memory_to_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether to begin, or to wait: what is promised to nobody would be promised for ever."""

    def fails(*_: object) -> None:
        raise MemoryError

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(60)
        await world.teach("/work")
        with monkeypatch.context() as moment:
            moment.setattr(world.threads, "follow", fails)
            with pytest.raises(MemoryError):
                await world.get("/work")
        assert world.desk.in_flight == set()

        running = world.start("/work")
        await turns()
        with monkeypatch.context() as moment:
            moment.setattr(world.gate, "_schedule_retry", fails)
            with pytest.raises(MemoryError):
                await world.get("/work")
        assert world.desk.waiting == 0
        await asyncio.gather(*running)
        assert (await world.get("/work")).status == 200
        assert world.desk.in_flight == set()

    run(story())
