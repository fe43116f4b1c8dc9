"""The guard: what becomes of a request that runs out of memory, and of its response."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import time
import weakref
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest
from anyio import to_thread
from tests.web.virtual import run
from tests.web.world import Memory, Response, World, call, holding, http, turns

from tonnage.errors import RequestRefusedError
from tonnage.governor.flight import InFlight, read_flight
from tonnage.problem import Problem
from tonnage.units import MIB
from tonnage.web.respond import Message, Receive, Scope, Send
from tonnage.web.witness import heard

App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def answer(send: Send, status: int) -> None:
    """Answer as an application does, in two parts."""
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"the app's own", "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def out_of_memory() -> None:
    """Do what an allocation does that does not fit."""
    raise MemoryError


def ask(app: App, scope: Scope | None = None, *, world: World | None = None) -> Response:
    """Return what a client of *app* gets through gate and guard."""
    world = world or World()
    world.guard.app = app
    return run(call(world.gate, scope or http("/burst")))


def in_flight(world: World) -> list[InFlight]:
    """Return what others see of the worker's requests."""
    beat = world.page.slots[0].heartbeat_nanoseconds
    return list(read_flight(world.page, 0, beat).requests)


async def lets_it_out(scope: Scope, receive: Receive, send: Send) -> None:
    """Leave the error to the server."""
    out_of_memory()


async def answers_while_handling(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer and raise again, as Starlette's outermost middleware does."""
    try:
        out_of_memory()
    except Exception:
        await answer(send, 500)
        raise


async def answers_another_error(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise an error of its own out of it, and answer that."""
    try:
        try:
            out_of_memory()
        except MemoryError as error:
            raise LookupError("no row") from error
    except LookupError:
        await answer(send, 500)


async def raises_in_a_group(scope: Scope, receive: Receive, send: Send) -> None:
    """Work in tasks of a group."""
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(3600))
        group.create_task(lets_it_out(scope, receive, send))


@pytest.mark.parametrize(("seconds", "header"), [(2.1, b"3"), (0.2, b"1")])
def test_the_time_to_try_again_is_the_gates(seconds: float, header: bytes) -> None:
    """In whole seconds, rounded up; a client would read 0 as: at once."""
    got = ask(lets_it_out, world=World(retry_after_seconds=seconds))
    assert dict(got.headers)[b"retry-after"] == header
    assert got.json()["retryAfter"] == int(header)


@pytest.mark.parametrize(
    "app", [lets_it_out, answers_while_handling, answers_another_error, raises_in_a_group]
)
def test_out_of_memory_is_answered_503(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the application makes of it, it is told, counted and logged once."""
    world = World()

    got = ask(app, world=world)

    assert [message["type"] for message in got.messages] == [
        "http.response.start",
        "http.response.body",
    ]
    assert got.status == 503
    assert (b"retry-after", b"5") in got.headers
    said = got.json()
    assert (said["error"], said["route"]) == ("out_of_memory", "GET /burst")
    assert world.slot.memory_errors == 1
    assert [(each.route, each.status) for each in world.failures] == [("GET /burst", 503)]
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert line.startswith("GET /burst ran out of memory at tests/web/test_guard.py:")
    assert " in out_of_memory: answered 503" in line
    assert re.search(r"; the worker had grown by \S+ \w?B meanwhile, with \S+ \w?B left$", line)


def test_a_failure_is_called_by_the_template_from_the_first_one_on() -> None:
    """Which the framework has shown by then; two names would be two reports on one route."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = SimpleNamespace(path="/export/{year}")
        out_of_memory()

    world = World()
    got = ask(app, http("/export/2026"), world=world)

    assert [each.route for each in world.failures] == ["GET /export/{year}"]
    assert got.json()["route"] == "GET /export/{year}"


def test_a_failure_closes_the_template_too() -> None:
    """The next request of that route is looked up by its template."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = SimpleNamespace(path="/export/{year}")
        out_of_memory()

    world = World()
    ask(app, http("/export/2026"), world=world)

    route = world.routes.find(http("/export/2027"))
    assert route.name == "GET /export/{year}"
    assert route.is_closed(time.monotonic())


def test_an_error_that_has_nothing_to_do_with_memory_is_the_applications() -> None:
    """It goes on to the server, and its 500 to the client."""

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("no row")

    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            raise LookupError("no row")
        except LookupError:
            await answer(send, 500)

    world = World()
    with pytest.raises(LookupError):
        ask(fails, world=world)
    assert ask(answers, world=world).body == b"the app's own"
    assert world.failures == []


def test_an_application_that_copes_is_left_alone() -> None:
    """It may have a smaller way, or an answer of its own."""

    async def copes(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            out_of_memory()
        except MemoryError:
            await answer(send, 507)

    world = World()
    assert ask(copes, world=world).status == 507
    assert world.failures == []


def test_a_response_that_has_begun_is_left_incomplete() -> None:
    """The server closes the connection then: nobody takes it for a whole one."""

    async def streams(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        out_of_memory()

    world = World()
    got = ask(streams, world=world)

    assert got.messages[-1]["more_body"]
    assert [failure.is_cut for failure in world.failures] == [True]


def test_work_after_the_response_spoils_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A background task fails for itself, and is logged."""

    async def works_on(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200)
        out_of_memory()

    assert ask(works_on).status == 200
    assert "its response was out already" in caplog.text


@pytest.mark.parametrize(
    ("announced", "sent_mb", "status"),
    [
        ("500000000", 0, 413),
        (None, 20, 413),
        (None, 8, 503),
        ("0", 0, 503),
        ("nonsense", 0, 503),
    ],
)
def test_a_body_that_is_itself_the_reason_gets_413(
    announced: str | None, sent_mb: int, status: int
) -> None:
    """From a quarter of what the worker had left: 64 MB here."""

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        world.memory.take(40)
        out_of_memory()

    async def receive() -> Message:
        return {"type": "http.request", "body": bytes(sent_mb * MIB), "more_body": True}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def story() -> None:
        world.page.header.limit_bytes = 124 * MIB
        world.page.header.used_bytes = 100 * MIB
        world.guard.app = reads
        headers = {} if announced is None else {"content_length": announced}
        await world.gate(http("/files", "POST", **headers), receive, send)

    world = World()
    run(story())

    assert sent[0]["status"] == status
    (failure,) = world.failures
    assert (failure.grown_bytes, failure.left_bytes) == (40 * MIB, 64 * MIB)


def test_what_the_error_holds_is_freed_before_anybody_is_told() -> None:
    """Its traceback holds the frames, and they hold what the request had allocated."""

    class Block:
        pass

    held: list[weakref.ref[Block]] = []
    alive: list[bool] = []

    def allocate() -> None:
        block = Block()
        held.append(weakref.ref(block))
        out_of_memory()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            allocate()
        except Exception as error:
            # The framework keeps the error while it answers.
            await answer(send, 500)
            raise LookupError from error

    gc.disable()
    try:
        world = World()
        world.guard._on_memory_error = lambda failure: alive.append(held[0]() is not None)
        assert ask(app, world=world).status == 503
    finally:
        gc.enable()
    assert alive == [False]


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
def test_a_websocket_is_denied_before_it_is_accepted(
    extensions: dict[str, object], sent: list[str]
) -> None:
    """By HTTP where the server can."""
    scope: Scope = {"type": "websocket", "path": "/", "headers": [], "extensions": extensions}

    got = ask(lets_it_out, scope)

    assert [message["type"] for message in got.messages] == sent


def test_a_websocket_is_closed_after_that() -> None:
    """With "try again later"."""

    async def accepts(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        out_of_memory()

    async def closes(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close", "code": 1000})
        out_of_memory()

    scope: Scope = {"type": "websocket", "path": "/", "headers": [], "extensions": {}}
    got = ask(accepts, dict(scope))
    assert got.messages[-1] == {"type": "websocket.close", "code": 1013}
    assert len(ask(closes, dict(scope)).messages) == 1


def test_a_wsgi_application_that_answers_500_is_heard() -> None:
    """Its start_response is called while it handles the error, or is given it."""

    def handles(environ: object, start_response: Callable[..., object]) -> list[bytes]:
        try:
            out_of_memory()
        except MemoryError as error:
            kept = error
            if environ == "at once":
                start_response("500 Internal Server Error", [])
                return []
        start_response("500 Internal Server Error", [], (MemoryError, kept, kept.__traceback__))
        return []

    for when in ("at once", "afterwards"):

        async def app(scope: Scope, receive: Receive, send: Send, when: str = when) -> None:
            heard(handles)(when, lambda *told: None)
            await answer(send, 500)

        world = World()
        world.guard.listens = True
        assert ask(app, world=world).status == 503


async def test_a_thread_lets_go_by_itself_of_what_its_error_holds() -> None:
    """Handing the error to the event loop needs memory."""
    world = World()
    world.install()

    class Block:
        pass

    held: list[weakref.ref[Block]] = []
    alive: list[bool] = []

    def allocate() -> None:
        block = Block()
        held.append(weakref.ref(block))
        out_of_memory()

    def look(work: asyncio.Future[None]) -> None:
        alive.append(held[-1]() is not None)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.get_running_loop().run_in_executor(None, allocate)
        work.add_done_callback(look)
        await work

    async def app_with_anyio(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await to_thread.run_sync(allocate)
        except MemoryError:
            alive.append(held[-1]() is not None)
            raise

    gc.disable()
    try:
        for world.guard.app in (app, app_with_anyio):
            assert (await world.get("/burst")).status == 503
    finally:
        gc.enable()
    assert alive == [False, False]


def test_every_request_is_in_flight_while_it_runs() -> None:
    """The small ones that pass straight through too; those that wait are not."""

    async def story() -> None:
        world = World()
        world.handlers["/large"] = holding(60)
        await world.teach("/large")
        await world.teach("/small")
        world.handlers["/small"] = holding(0)

        tasks = world.start("/large", "/large", "/small")
        await turns()
        seen = in_flight(world)
        assert [(each.route, each.grown_bytes) for each in seen] == [
            ("/large", 60 * MIB),
            ("/small", 0),
        ]
        assert world.desk.waiting == 1

        await asyncio.gather(*tasks)
        assert in_flight(world) == []

    run(story())


def test_the_step_that_runs_is_marked_from_its_beginning() -> None:
    """With what the request is expected to take: this is what explains a death in that step."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(30)
        await world.teach("/work")
        seen: list[InFlight] = []

        async def handle(world: World, scope: Scope) -> None:
            seen.extend(in_flight(world))
            await asyncio.sleep(1)
            seen.extend(in_flight(world))

        world.handlers["/work"] = handle
        task = world.start("/work")[0]
        await turns()
        between = in_flight(world)
        await task

        assert [each.is_running for each in (*seen, *between)] == [True, True, False]
        assert seen[0].expected_bytes == 30 * MIB
        assert world.slot.running == 0

    run(story())


def test_what_is_expected_is_worked_out_anew_with_each_heartbeat() -> None:
    """Once the first step is over, its part is a fact."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(30)
        await world.teach("/work")
        task = world.start("/work")[0]
        await turns()

        world.gate.beat()

        assert [each.expected_bytes for each in in_flight(world)] == [0]
        await task

    run(story())


def test_what_a_request_leaves_behind_is_not_charged_to_the_next_one() -> None:
    """Its entry has gone to another when a task of its own goes on allocating."""

    async def story() -> None:
        world = World()
        world.install()
        left: list[asyncio.Task[None]] = []

        async def work_on() -> None:
            await asyncio.sleep(1)
            world.memory.take(20)

        async def leave(world: World, scope: Scope) -> None:
            left.append(asyncio.create_task(work_on()))

        world.handlers |= {"/leaves": leave, "/next": holding(0, seconds=9)}
        await world.get("/leaves")
        task = world.start("/next")[0]
        await turns()
        await left[0]

        assert [(each.route, each.grown_bytes) for each in in_flight(world)] == [("/next", 0)]
        await task

    run(story())


def test_a_request_that_fails_or_is_cancelled_is_in_flight_no_more() -> None:
    """However it ends."""

    async def story() -> None:
        world = World()
        world.handlers["/work"] = holding(1, seconds=3600)
        task = world.start("/work")[0]
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        world.guard.app = lets_it_out
        await world.get("/work")

        assert in_flight(world) == []

    run(story())


def refuse() -> None:
    """Do what an upload of the wrong type does."""
    raise RequestRefusedError(Problem(415, "wrong_type", "send a photo"))


async def lets_a_refusal_out(scope: Scope, receive: Receive, send: Send) -> None:
    """Leave it to the server."""
    refuse()


async def answers_a_refusal_with_500(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer and raise again, as Starlette's outermost middleware does."""
    try:
        refuse()
    except Exception:
        await answer(send, 500)
        raise


@pytest.mark.parametrize("app", [lets_a_refusal_out, answers_a_refusal_with_500])
def test_a_refusal_is_answered_with_its_problem(app: App) -> None:
    """Also where no limits are set, and so nobody else is there to do it."""
    response = ask(app)
    assert (response.status, response.json()["error"]) == (415, "wrong_type")
    assert len(response.messages) == 2


def test_a_refusal_that_the_application_answers_is_its_own() -> None:
    """It has decided."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            refuse()
        except RequestRefusedError:
            await answer(send, 422)

    assert ask(app).status == 422


def test_a_refusal_in_the_middle_of_a_response_is_the_servers() -> None:
    """It closes the connection."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        refuse()

    with pytest.raises(RequestRefusedError):
        ask(app)


def test_what_a_request_held_that_ran_out_is_not_held_for_the_next() -> None:
    """Who asks again as soon as the answer is there is told the same, not what was left to it."""

    class Block:
        def __init__(self, memory: Memory) -> None:
            self.memory = memory
            memory.take(60)

        def __del__(self) -> None:
            self.memory.take(-60)

    async def burst(world: World, scope: Scope) -> None:
        block = Block(world.memory)
        # As every 20 ms, and with each request that ends.
        world.gate.look()
        out_of_memory()
        del block

    async def story() -> None:
        world = World()
        world.handlers = {"/one": burst, "/other": burst}
        following = []

        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                following.append(asyncio.ensure_future(world.get("/other")))
                await asyncio.sleep(1.0)

        await world.gate(http("/one"), receive, send)
        await asyncio.gather(*following)

        assert [each.grown_bytes for each in world.failures] == [60 * MIB, 60 * MIB]

    run(story())
