"""The gate: what is refused, in which words, and what goes past the desk."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from tests.web.virtual import now, run
from tests.web.world import Response, World, call, each, growing, holding, http, turns

from tonnage.governor.costs import LATE_KNOWN_AFTER
from tonnage.governor.levels import Level
from tonnage.units import MIB
from tonnage.web.gate import Gate
from tonnage.web.meter import Tasks


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
        assert refused.json()["reason"] == "the queue is full"
        assert world.slot.refused == 1
        assert [task.result().status for task in tasks if task.done()] == []
        assert [answer.status for answer in await asyncio.gather(*tasks)] == [200] * 3

    run(story())


def test_who_waited_in_vain_is_told_why_and_when_to_try_again() -> None:
    """After the deadline: 503, Retry-After, and who holds the memory."""

    async def story() -> None:
        world = World(wait_seconds=2.0)
        world.page.header.used_bytes = 150 * MIB
        world.page.header.workers_own_bytes = 60 * MIB
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
        assert dict(refused.headers)[b"content-type"] == b"application/problem+json"
        body = refused.json()
        assert body["error"] == "service_unavailable"
        assert body["reason"] == "waited 2 s for memory"
        assert body["detail"] == (
            "this request cannot start now: waited 2 s for memory; try again in 5 s"
        )
        assert body["retryAfter"] == 5
        assert (body["level"], body["used"], body["limit"]) == ("CRITICAL", 150.0, 200.0)
        assert body["expectedCost"] == 60.0
        assert body["heldBy"]["requests and workers"] == 60.0
        assert (body["inFlight"], body["waiting"]) == (1, 1)
        await asyncio.gather(*running)
        await asyncio.sleep(0.01)
        assert world.slot.waiting == 0

    run(story())


def test_who_holds_the_memory_is_told_as_in_the_books() -> None:
    """What workers share is ours; only what nobody of ours holds is another's."""

    async def story() -> None:
        world = World(queue_limit=0)
        world.handlers["/work"] = holding(60)
        await world.teach("/work")
        running = world.start("/work")
        await turns()
        world.gate.look()
        header = world.page.header
        header.used_bytes, header.workers_own_bytes = 150 * MIB, 60 * MIB
        header.supervisor_pss_bytes, header.zygote_pss_bytes = 14 * MIB, 20 * MIB
        header.jobs_held_bytes, header.jobs_committed_bytes = 5 * MIB, 7 * MIB
        world.slot.pss_bytes = world.slot.held_bytes + 43 * MIB

        refused = await world.get("/work")

        assert refused.json()["heldBy"] == {
            "requests and workers": 60.0,
            "promised to requests": 0.0,
            "jobs, held and promised": 7.0,
            "supervisor and shared pages": 77.0,
            "other": 8.0,
        }
        await asyncio.gather(*running)

    run(story())


def test_who_waited_for_others_of_its_route_is_told_so() -> None:
    """There is memory enough: what is not known yet is how much of it the route needs."""

    async def story() -> None:
        world = World(wait_seconds=0.5)
        world.handlers["/new"] = holding(1, seconds=0.9)
        running = world.start("/new")
        await turns()

        refused = await world.get("/new")

        assert refused.status == 503
        assert refused.json()["reason"] == (
            "waited 0.5 s for the first requests of its route to show what they cost"
        )
        await asyncio.gather(*running)

    run(story())


@pytest.mark.parametrize(("seconds", "header"), [(2.1, b"3"), (0.2, b"1")])
def test_the_time_to_try_again_is_in_whole_seconds(seconds: float, header: bytes) -> None:
    """Rounded up, since who comes too early only waits again; and never at once."""

    async def story() -> None:
        world = World(queue_limit=0, retry_after_seconds=seconds)
        world.handlers["/work"] = holding(60)
        await world.teach("/work")
        running = world.start("/work")
        await turns()

        refused = await world.get("/work")

        assert dict(refused.headers)[b"retry-after"] == header
        await asyncio.gather(*running)

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


def test_any_awaitable_is_an_application() -> None:
    """A class may give back a future instead of a coroutine."""

    async def story() -> None:
        world = World()
        done = asyncio.get_running_loop().create_future()
        world.guard.app = lambda scope, receive, send: done
        gate = Gate(
            world.guard,
            page=world.page,
            slot=world.slot,
            desk=world.desk,
            routes=world.routes,
            meter=world.meter,
            tasks=Tasks(world.meter),
            threads=world.threads,
        )
        done.set_result(None)

        await gate(http("/work"), receive=done, send=done)  # type: ignore[arg-type]

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
            assert refused.json()["reason"] == "the queue is full"
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


LARGE = str(65 * MIB)
HOPELESS = str(300 * MIB)


async def upload(world: World, length: str) -> Response:
    """Send a body of *length* bytes."""
    return await world.get("/upload", "POST", content_length=length)


def test_a_body_that_can_never_be_held_is_refused_at_once() -> None:
    """To wait would change nothing, nor would trying again."""

    async def story() -> None:
        world = World(ceiling_mb=100)
        world.install()
        world.handlers["/upload"] = growing(66)
        for _ in range(LATE_KNOWN_AFTER + 1):
            await upload(world, LARGE)
        world.started.clear()

        refused = await upload(world, HOPELESS)

        assert refused.status == 413
        assert refused.json()["error"] == "payload_too_large"
        assert "300 MB can never fit: this server has 200 MB" in refused.json()["detail"]
        assert dict(refused.headers)[b"connection"] == b"close"
        assert world.started == []
        assert (await upload(world, LARGE)).status == 200

    run(story())


@pytest.mark.parametrize("mb", [[0], [1], [66, 1, 1], [20]])
def test_a_body_that_may_go_to_disk_is_let_in(mb: list[float]) -> None:
    """Where other large bodies were not held whole, each time."""

    async def story() -> None:
        world = World(ceiling_mb=100)
        world.install()
        world.handlers["/upload"] = each(itertools.cycle(mb))
        for _ in range(LATE_KNOWN_AFTER + 6):
            await upload(world, LARGE)
        assert (await upload(world, HOPELESS)).status == 200

    run(story())


def test_a_body_of_a_route_without_experience_is_let_in() -> None:
    """Nothing says yet that it would be held."""

    async def story() -> None:
        world = World(ceiling_mb=100)
        world.install()
        assert (await upload(world, HOPELESS)).status == 200

    run(story())
