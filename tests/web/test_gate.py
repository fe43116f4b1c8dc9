"""The gate with desk, ledger, routes and meter behind it: who starts, who waits, who is refused."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.web.virtual import now, run
from tests.web.world import World, call, each, growing, holding, http, turns
from tonnage.governor.levels import Level
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

        cost = await world.teach("/work")

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
        assert [flying for flying, _ in in_flight[:3]] == [1, 2, 2]
        # 1, then 2, then 8 that make the route known, then all the rest.
        assert now() - begun == pytest.approx(4.0, abs=0.1)

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
        assert cost.window is None

        await world.get("/work")

        assert cost.observations == 1
        assert cost.window == 2
        assert cost.worst_bytes == 40 * MIB
        assert cost.total_observations == 7

    run(story())


def test_when_the_queue_is_full_the_answer_is_a_refusal_at_once() -> None:
    """The queue has a bound; nobody is kept waiting beyond it."""

    async def story() -> None:
        world = World(queue_limit=2)
        world.handlers["/work"] = holding(60)
        await world.teach("/work")
        tasks = world.start("/work", "/work", "/work")
        await turns()

        refused = await world.get("/work")

        assert refused.status == 503
        assert refused.json()["reason"] == "queue full"
        assert world.slot.refused == 1
        assert [task.result().status for task in tasks if task.done()] == []
        assert [answer.status for answer in await asyncio.gather(*tasks)] == [200] * 3

    run(story())


def test_who_waited_in_vain_is_told_why_and_when_to_try_again() -> None:
    """After the deadline: 503, Retry-After, and who holds the memory."""

    async def story() -> None:
        world = World(wait_seconds=2.0)
        world.page.header.used_bytes = 150 * MIB
        world.page.header.level = Level.CRITICAL
        world.handlers["/work"] = holding(60, seconds=5)
        await world.teach("/work")
        running = world.start("/work")
        await turns()
        begun = now()

        refused = await world.get("/work")

        assert now() - begun == pytest.approx(2.0)
        assert refused.status == 503
        assert dict(refused.headers)[b"retry-after"] == b"5"
        assert dict(refused.headers)[b"content-type"] == b"application/json"
        body = refused.json()
        assert body["error"] == "service_unavailable"
        assert body["reason"] == "waited 2 s"
        assert body["retryAfter"] == 5
        assert (body["level"], body["used"], body["limit"]) == ("CRITICAL", 150.0, 200.0)
        assert body["expectedCost"] == 60.0
        assert body["heldBy"]["requests and workers"] == 60.0
        assert (body["inFlight"], body["waiting"]) == (1, 1)
        await asyncio.gather(*running)
        await asyncio.sleep(0.01)
        assert world.slot.waiting == 0

    run(story())


def test_the_time_to_try_again_can_be_set() -> None:
    """An option overrules what the desk works out."""

    async def story() -> None:
        world = World(queue_limit=0, retry_after_seconds=7.0)
        world.handlers["/work"] = holding(60)
        await world.teach("/work")
        running = world.start("/work")
        await turns()

        refused = await world.get("/work")

        assert dict(refused.headers)[b"retry-after"] == b"7"
        await asyncio.gather(*running)

    run(story())


def test_exhausted_with_nothing_in_flight_refuses_at_once() -> None:
    """Nobody's end could make room, so waiting would be in vain."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(60)
        await world.teach("/work")
        world.memory.take(95)
        world.page.header.level = Level.EXHAUSTED
        begun = now()

        refused = await world.get("/work")

        assert (refused.status, now()) == (503, begun)
        assert refused.json()["reason"] == "nothing in flight could make room"

    run(story())


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


def test_any_awaitable_is_an_application() -> None:
    """A class may give back a future instead of a coroutine."""

    async def story() -> None:
        world = World()
        done = asyncio.get_running_loop().create_future()
        world.gate._app = lambda scope, receive, send: done  # noqa: SLF001
        done.set_result(None)

        await world.get("/work")

        assert world.cost("/work").observations == 1

    run(story())


@pytest.mark.parametrize(
    ("extensions", "sent"),
    [
        ({}, ["websocket.close"]),
        (
            {"websocket.http.response": {}},
            ["websocket.http.response.start", "websocket.http.response.body"],
        ),
    ],
)
def test_a_websocket_is_refused_in_its_own_words(
    extensions: dict[str, object], sent: list[str]
) -> None:
    """With a response where the server can send one; else with "try again later"."""

    async def story() -> None:
        world = World(queue_limit=0)
        world.handlers["/work"] = holding(90)
        world.handlers["/socket"] = holding(90)
        scope = {"type": "websocket", "path": "/socket", "headers": [], "extensions": extensions}
        await world.teach("/work")
        running = world.start("/work")
        await turns()

        refused = await call(world.gate, scope)

        assert [message["type"] for message in refused.messages] == sent
        if extensions:
            assert refused.status == 503
            assert (b"retry-after", b"1") in refused.headers
            assert refused.json()["reason"] == "queue full"
        else:
            assert refused.messages[0]["code"] == 1013
        await asyncio.gather(*running)

    run(story())


def test_a_websocket_is_admitted_like_a_request() -> None:
    """It is a route of its own, and is measured."""

    async def story() -> None:
        world = World()
        world.handlers["/socket"] = holding(8)
        scope = {"type": "websocket", "path": "/socket", "headers": []}

        await call(world.gate, scope)

        assert world.routes.find(scope).worst_bytes == 8 * MIB

    run(story())


def test_lifespan_goes_past_the_desk() -> None:
    """Startup is not a request."""

    async def story() -> None:
        world = World()

        await call(world.gate, {"type": "lifespan", "path": "lifespan"})

        assert world.started == ["lifespan"]
        assert world.slot.requests == 0

    run(story())


def test_a_draining_worker_asks_for_the_connection_to_end() -> None:
    """So that the client's next request goes to another worker."""

    async def story() -> None:
        world = World()
        before = await world.get("/work")
        world.gate.draining = True
        during = await world.get("/work")

        assert (b"connection", b"close") not in before.headers
        assert (b"connection", b"close") in during.headers
        assert during.body == b"done"

    run(story())


def test_a_refused_upload_ends_the_connection() -> None:
    """Its body is not read, so nothing else can come over this connection."""

    async def story() -> None:
        world = World(queue_limit=0)
        world.handlers["/work"] = holding(90)
        await world.teach("/work")
        running = world.start("/work")
        await turns()

        posted = await world.get("/upload", method="POST", content_length="500000")
        asked = await world.get("/work")

        assert (posted.status, asked.status) == (503, 503)
        assert (b"connection", b"close") in posted.headers
        assert (b"connection", b"close") not in asked.headers
        await asyncio.gather(*running)

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
        while world.slot.in_flight:
            await asyncio.sleep(0)
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


def test_the_slot_shows_what_the_worker_does() -> None:
    """Requests, those in flight, those that wait."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(60)
        await world.teach("/work")
        tasks = world.start("/work", "/work", "/work")
        await asyncio.sleep(0.1)

        assert (world.slot.in_flight, world.slot.waiting, world.slot.waited) == (1, 2, 2)
        assert world.slot.requests == 9
        assert world.slot.held_bytes == 60 * MIB
        await asyncio.gather(*tasks)
        assert (world.slot.in_flight, world.slot.waiting) == (0, 0)

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

        known = {cost.name: cost.observations for cost in world.routes.known()}
        assert known["GET /users/{name}"] == 6
        assert world.cost("/users/a").is_known

    run(story())
