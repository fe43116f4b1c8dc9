"""A worker that is to end, while requests wait in it for memory that it keeps itself."""

from __future__ import annotations

import asyncio

import pytest
from tests.web.virtual import now, run
from tests.web.world import World, holding

from tonnage.governor.levels import Level
from tonnage.units import MIB

LIMIT_MB = 200


def full(world: World, used_mb: int) -> None:
    """Have the worker hold so much that no request explains; the limit is 200 MB."""
    world.memory.take(used_mb)
    header = world.page.header
    header.used_bytes = used_mb * MIB
    header.exhausted_bytes = 150 * MIB
    header.level = Level.EXHAUSTED if used_mb > 150 else Level.CRITICAL
    header.level_since_nanoseconds = int(now() * 1e9)


def test_those_who_wait_are_served_one_by_one_from_the_reserve() -> None:
    """What the worker has leaked is in their way, and they are in the way of its end."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(10, 0.1)
        await world.teach("/work")
        full(world, 160)
        requests = world.start(*["/work"] * 5)
        await asyncio.sleep(1)
        assert world.started == []

        begun = now()
        world.gate.drain()
        answers = await asyncio.gather(*requests)

        assert [answer.status for answer in answers] == [200] * 5
        assert now() - begun == pytest.approx(0.5, abs=0.1)
        assert world.memory.most_mb == 170

    run(story())


def test_a_route_that_was_closed_is_open_to_them() -> None:
    """It was closed since it ran out of memory; the worker that comes is given its own chance."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(10, 0.1)
        route = await world.teach("/work")
        full(world, 120)
        route.note_out_of_memory(15, 10 * MIB, 100 * MIB, now())
        [request] = world.start("/work")
        await asyncio.sleep(1)
        assert world.started == []

        world.gate.drain()
        assert (await request).status == 200

    run(story())


def test_who_needs_more_than_half_of_the_reserve_is_refused_at_once() -> None:
    """Waiting would hold up the end that frees it."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(30, 0.1)
        await world.teach("/work")
        full(world, 160)
        requests = world.start(*["/work"] * 3)
        await asyncio.sleep(1)

        begun = now()
        world.gate.drain()
        answers = await asyncio.gather(*requests)

        assert [answer.status for answer in answers] == [503] * 3
        assert now() - begun < 0.1
        assert "being replaced" in answers[0].json()["reason"]

    run(story())


def test_who_is_refused_as_its_time_to_wait_ends_does_not_start() -> None:
    """Both in one turn of the event loop: it has no memory, by either."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(30, 0.1)
        await world.teach("/work")
        full(world, 160)
        loop = asyncio.get_running_loop()
        [request] = world.start("/work")
        loop.call_at(loop.time() + world.wait_seconds - 1e-10, world.gate.drain)
        answer = await request

        assert answer.status == 503
        assert world.started == []

    run(story())
