"""The gate: clients that go away while their requests wait."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.web.virtual import now, run
from tests.web.world import World, holding, http, turns

from tonnage.web.respond import Message


async def _receive() -> Message:
    return {"type": "http.disconnect"}


async def _send(message: Message) -> None:
    raise AssertionError(f"nobody is there for {message}")


async def _crowd(world: World, count: int) -> list[asyncio.Future[Any]]:
    """Have one request in flight for a second, and *count* behind it that soon have no client."""
    world.handlers["/work"] = holding(60)
    await world.teach("/work")
    first = world.start("/work")
    await turns()
    gone = [asyncio.ensure_future(world.gate(http("/work"), _receive, _send)) for _ in range(count)]
    await turns()
    assert world.desk.waiting == count
    return [*first, *gone]


def test_who_has_gone_when_his_turn_comes_holds_no_place() -> None:
    """He is not served, and those behind him are, as if he had never been there."""

    async def story() -> None:
        world = World(is_gone=lambda receive: receive is _receive)
        tasks = await _crowd(world, 3)

        await asyncio.gather(*tasks)
        assert world.started == ["/work"]
        begun = now()
        assert (await world.get("/work")).status == 200

        assert now() - begun < 1.1
        assert world.desk.in_flight == set()

    run(story())


def test_who_has_gone_leaves_the_queue_before_his_turn() -> None:
    """A queue full of clients that were cut is no reason to refuse one that is there."""

    async def story() -> None:
        world = World(queue_limit=3, is_gone=lambda receive: receive is _receive)
        tasks = await _crowd(world, 3)
        assert (await world.get("/work")).status == 503
        world.gate.beat()
        await turns()

        assert world.desk.waiting == 0
        assert (await world.get("/work")).status == 200
        await asyncio.gather(*tasks)
        assert world.slot.refused == 1

    run(story())
