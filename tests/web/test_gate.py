"""The gate with desk, ledger, routes and meter behind it: learning, slow start, small requests."""

from __future__ import annotations

import asyncio

import pytest
from tests.web.virtual import now, run
from tests.web.world import World, costs_in, each, growing, holding, turns

from tonnage.governor.costs import LATE_KNOWN_AFTER
from tonnage.units import MIB
from tonnage.web.gate import SAMPLE_EVERY
from tonnage.web.respond import Scope


def test_a_cost_is_learned_from_what_requests_did() -> None:
    """Six requests of 8 MB make a known route of 8 MB that takes 300 ms."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(8, seconds=0.3)

        cost = await world.teach("/work")

        assert cost.is_known
        assert not cost.is_small
        assert cost.mean_bytes == cost.worst_bytes == 8 * MIB
        assert cost.seconds == pytest.approx(0.3)

    run(story())


def test_growth_after_the_first_step_is_learned_too() -> None:
    """A handler that waits for a query first and allocates then costs the same."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = growing(8)

        cost = await world.teach("/work", LATE_KNOWN_AFTER)

        assert cost.worst_bytes == 8 * MIB
        assert cost.rest(0, 0).worst_bytes == 8 * MIB

    run(story())


def test_an_unknown_route_starts_slowly() -> None:
    """One request at first, then two, four, eight, as observations come in; all are served."""

    async def story() -> None:
        world = World(ceiling_mb=4000)
        in_flight: list[tuple[int, int]] = []

        async def handle(world: World, scope: Scope) -> None:
            before = world.cost("/work").observations
            in_flight.append((len(world.desk.in_flight), 2**before))
            await holding(8)(world, scope)

        world.handlers["/work"] = handle
        begun = now()

        answers = await asyncio.gather(*world.start(*["/work"] * 40))

        assert [answer.status for answer in answers] == [200] * 40
        assert all(flying <= window for flying, window in in_flight)
        # One first step at a time.
        assert [flying for flying, _ in in_flight[:3]] == [1, 1, 2]
        # 1, then 2, then 8 that make the route known, then all the rest.
        assert now() - begun == pytest.approx(4.0, abs=0.1)

    run(story())


def test_streams_that_do_not_end_let_others_of_their_route_begin() -> None:
    """WebSockets and event streams last for hours, and hold next to nothing."""

    async def story() -> None:
        world = World(ceiling_mb=1000)
        world.handlers["/events"] = holding(0.1, seconds=3600)

        tasks = world.start(*["/events"] * 20)
        for _ in range(60):
            await asyncio.sleep(1)
            world.gate.beat()

        assert len(world.started) == 20
        for task in tasks:
            task.cancel()

    run(story())


def test_an_unknown_route_does_not_hold_up_a_known_one() -> None:
    """What slow start holds back lets others pass."""

    async def story() -> None:
        world = World()
        world.handlers["/known"] = holding(2)
        world.handlers["/new"] = holding(2)
        await world.teach("/known")

        tasks = world.start("/new", "/new", "/known")
        await asyncio.sleep(0.1)

        assert world.started == ["/new", "/known"]
        await asyncio.gather(*tasks)

    run(story())


def test_requests_that_fit_run_together_and_never_exceed_the_ceiling() -> None:
    """Twelve of 8 MB fit into 98 of 100 MB; 60 of them take five rounds."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(8)
        await world.teach("/work")
        begun = now()

        answers = await asyncio.gather(*world.start(*["/work"] * 60))

        assert {answer.status for answer in answers} == {200}
        assert world.memory.most_mb == 96
        assert now() - begun == pytest.approx(5.0, abs=0.1)
        assert world.slot.waited == 48
        assert world.slot.refused == 0

    run(story())


def test_large_requests_start_in_the_order_they_came() -> None:
    """A lesser one does not pass a greater one that waits, or that one would starve."""

    async def story() -> None:
        world = World()
        for path, mb in (("/a", 60.0), ("/b", 50.0), ("/c", 20.0)):
            world.handlers[path] = holding(mb)
            await world.teach(path)

        await asyncio.gather(*world.start("/a", "/b", "/c", "/c"))

        assert world.started == ["/a", "/b", "/c", "/c"]

    run(story())


def test_small_requests_pass_large_ones_that_wait() -> None:
    """They do not even enter the queue."""

    async def story() -> None:
        world = World()
        world.handlers["/large"] = holding(60)
        await world.teach("/large")
        assert (await world.teach("/small")).is_small

        tasks = world.start("/large", "/large", "/small", "/small")
        await turns()

        assert world.finished == ["/small", "/small"]
        assert world.desk.waiting == 1
        await asyncio.gather(*tasks)

    run(story())


def test_small_requests_wait_only_once_their_own_share_is_gone() -> None:
    """Two of 100 MB are theirs alone; beyond that they wait, and go first."""

    async def story() -> None:
        world = World()
        world.handlers["/large"] = holding(30)
        await world.teach("/large")
        await world.teach("/small")
        world.memory.take(99)
        world.gate.look()

        assert (await world.get("/small")).status == 200
        world.memory.take(10)
        world.gate.look()
        blocker = world.start("/large")
        await turns()
        waiting = world.start("/large", "/small", "/small")
        await asyncio.sleep(0.1)
        assert world.started == ["/small", "/large"]
        world.memory.take(-40)
        await asyncio.gather(*blocker, *waiting)

        assert world.started == ["/small", "/large", "/small", "/small", "/large"]

    run(story())


def test_a_small_request_looks_anew_when_the_last_look_is_old() -> None:
    """Memory may have gone meanwhile, to the server's own buffers, say."""

    async def story() -> None:
        world = World()
        await world.teach("/small")
        world.memory.take(150)
        assert (await world.get("/small")).status == 200
        await asyncio.sleep(0.1)
        world.page.slots[1].in_flight = 1

        task = world.start("/small")[0]
        await turns()
        assert (task.done(), world.desk.waiting) == (False, 1)
        world.memory.take(-150)
        await task

    run(story())


def test_one_small_request_in_so_many_is_measured() -> None:
    """Large requests in between do not keep the sample from coming."""

    async def story() -> None:
        world = World()
        world.handlers["/large"] = holding(8)
        await world.teach("/large")
        small = await world.teach("/small")
        before = small.total_observations

        for _ in range(10 * SAMPLE_EVERY):
            await world.get("/small")
            if _ % 3 == 0:
                await world.get("/large")

        assert small.total_observations - before == 10

    run(story())


def test_a_route_that_is_small_no_longer_is_found_out() -> None:
    """The sample sees it, and the route is unknown again."""

    async def story() -> None:
        world = World()
        small = await world.teach("/small")
        world.handlers["/small"] = holding(20, seconds=0)

        for _ in range(SAMPLE_EVERY):
            await world.get("/small")

        assert not small.is_small
        assert not small.is_known
        assert small.worst_bytes == 20 * MIB

    run(story())


def test_a_surprise_makes_a_route_unknown_again() -> None:
    """More than twice the worst ever seen: slow start begins anew."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = each([8] * 6 + [40, 8])
        cost = await world.teach("/work")
        assert cost.is_known

        task = world.start("/work")[0]
        await turns()
        # Known at the end of its first step, before anybody else starts on the old estimate.
        assert (cost.observations, cost.window) == (0, 1)
        assert cost.worst_bytes == 40 * MIB
        await task
        assert cost.window is not None

    run(story())


def test_the_frameworks_template_takes_over_from_the_folded_path() -> None:
    """All paths of one endpoint learn together, also where folding does not see it."""

    async def story() -> None:
        world = World()

        async def handle(world: World, scope: Scope) -> None:
            scope["route"] = type("Route", (), {"path": "/users/{name}"})()
            await holding(8)(world, scope)

        for name in "abcdef":
            world.handlers[f"/users/{name}"] = handle
            await world.get(f"/users/{name}")

        assert costs_in(world.page)["GET /users/{name}"].observations == 6
        assert world.cost("/users/a").is_known

    run(story())
