"""Each answer that goes out of a worker's server counts once, as what the client got."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.server.hall import GET, Hall, run, settle
from tests.support.waiting import until

from tonnage.answer import Answer
from tonnage.ops.figures.counting import Counting
from tonnage.ops.figures.records import OTHER, RouteFigures
from tonnage.ops.figures.telling import route_of
from tonnage.rates.table import RateTable
from tonnage.web.path.middleware import Tonnage
from tonnage.web.respond import Receive, Scope, Send, respond
from tonnage.web.routes import OPERATIONS, ROUTE

_OK = b"HTTP/1.1 200 OK"


def _get(path: str, *headers: bytes) -> bytes:
    return b"\r\n".join((b"GET %s HTTP/1.1" % path.encode(), b"Host: a", *headers, b"", b""))


class App:
    """Answers with the status that the path says; the gate's part is to name the route."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        scope[ROUTE] = f"GET {scope['path']}"
        what = scope["path"].strip("/")
        if what == "fails":
            raise ValueError("as it may")
        if what == "refused":
            await respond(scope, receive, send, Answer(503, b"{}"))
        elif what == "health":
            scope[ROUTE] = OPERATIONS
            await respond(scope, receive, send, Answer(503, b"{}"))
        elif what == "silent":
            await receive()
            await receive()
        elif what == "stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await self.go_on.wait()
            await send({"type": "http.response.body", "body": b"y"})
        elif what == "cut":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        else:
            headers = [(b"content-length", b"0")]
            await send(
                {"type": "http.response.start", "status": int(what or 200), "headers": headers}
            )
            await send({"type": "http.response.body"})


def _counted(hall: Hall) -> dict[str, RouteFigures]:
    return {tally.name: route_of(tally.row()) for tally in hall.sweeper.counting.tallies()}


def _statuses(hall: Hall) -> dict[str, tuple[int, ...]]:
    return {name: route.statuses for name, route in _counted(hall).items()}


async def _is_counted(hall: Hall, requests: int) -> None:
    await until(lambda: sum(each.requests for each in _counted(hall).values()) == requests)


def test_statuses_are_those_that_clients_got() -> None:
    """Also where the server answers for an application that has failed."""

    async def story() -> None:
        async with Hall(App()) as hall:
            client = await hall.connect()
            for path in ("/200", "/200", "/301", "/200"):
                client.send(_get(path))
                await client.response()
            for path in ("/fails", "/500"):
                other = await hall.connect(_get(path))
                await other.response()

            assert _statuses(hall) == {
                "GET /200": (0, 3, 0, 0, 0),
                "GET /301": (0, 0, 1, 0, 0),
                "GET /fails": (0, 0, 0, 0, 1),
                "GET /500": (0, 0, 0, 0, 1),
            }

    run(story())


def test_pipelined_requests_are_counted_each_for_itself() -> None:
    """By their own names and statuses, in whatever order they were read."""

    async def story() -> None:
        async with Hall(App()) as hall:
            client = await hall.connect(_get("/200") + _get("/204") + _get("/refused"))
            for _ in range(2):
                await client.head()
            await client.head()
            await _is_counted(hall, 3)

            counted = _counted(hall)
            assert counted["GET /200"].statuses == (0, 1, 0, 0, 0)
            assert counted["GET /204"].statuses == (0, 1, 0, 0, 0)
            assert counted[OTHER].statuses == (0, 0, 0, 0, 1)
            assert [counted[each].shed for each in ("GET /200", "GET /204", OTHER)] == [0, 0, 1]

    run(story())


def test_a_503_of_the_application_behind_one_of_ours_is_its_own() -> None:
    """On the same connection, whose later requests may inherit what was noted."""

    async def story() -> None:
        async with Hall(App()) as hall:
            client = await hall.connect(_get("/refused") + _get("/503") + _get("/503"))
            for _ in range(3):
                await client.head()
            await _is_counted(hall, 3)

            assert _counted(hall)[OTHER].statuses == (0, 0, 0, 0, 3)
            assert _counted(hall)[OTHER].shed == 1

    run(story())


def test_operators_are_not_counted() -> None:
    """Neither as requests nor as shed."""

    async def story() -> None:
        async with Hall(App()) as hall:
            client = await hall.connect(_get("/health") + _get("/503"))
            await client.head()
            await client.head()
            await _is_counted(hall, 1)

            assert _counted(hall)[OTHER].shed == 0

    run(story())


def test_a_stream_counts_at_its_end() -> None:
    """With its whole time; also when its client goes."""

    async def story() -> None:
        app = App()
        async with Hall(app) as hall:
            streamed, left = [await hall.connect(_get("/stream")) for _ in range(2)]
            assert (await streamed.head()).startswith(_OK)
            await left.head()
            assert _counted(hall) == {}

            left.abort()
            await _is_counted(hall, 1)
            app.go_on.set()
            await _is_counted(hall, 2)
            await settle()

            assert _statuses(hall) == {"GET /stream": (0, 2, 0, 0, 0)}

    run(story())


def test_a_client_that_goes_unanswered_counts() -> None:
    """As none at all; of a response that is cut its status counts."""

    async def story() -> None:
        async with Hall(App()) as hall:
            client = await hall.connect(_get("/silent"))
            client.abort()
            await _is_counted(hall, 1)
            assert _statuses(hall)[OTHER] == (1, 0, 0, 0, 0)

            other = await hall.connect(_get("/cut"))
            await other.rest()
            await _is_counted(hall, 2)
            assert _statuses(hall)["GET /cut"] == (0, 1, 0, 0, 0)

    run(story())


def test_what_is_not_http_is_counted_as_other() -> None:
    """And a body that is refused while its request runs, as that request's."""

    async def story() -> None:
        async with Hall(App()) as hall:
            client = await hall.connect(b"what is this\r\n\r\n")
            assert b" 400 " in await client.head()
            assert _statuses(hall) == {OTHER: (0, 0, 0, 1, 0)}

            head = _get("/silent", b"Transfer-Encoding: chunked").replace(b"GET", b"POST")
            other = await hall.connect(head + b"no chunk\r\n")
            assert b" 400 " in await other.head()
            other.abort()
            await _is_counted(hall, 2)
            assert _statuses(hall) == {OTHER: (0, 0, 0, 2, 0)}

    run(story())


def test_100_continue_is_no_answer() -> None:
    """What follows is."""

    async def story() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope[ROUTE] = "POST /"
            await receive()
            await respond({**scope, "headers": []}, receive, send, Answer(200, b"{}"))

        async with Hall(app) as hall:
            expecting = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue"
            client = await hall.connect(expecting + b"\r\n\r\n")
            assert b" 100 " in await client.head()
            client.send(b"x")
            await client.response()
            await _is_counted(hall, 1)

            assert _statuses(hall) == {"POST /": (0, 1, 0, 0, 0)}

    run(story())


def test_what_the_limits_refuse_is_counted_and_shed() -> None:
    """For the route that the gate knows by then, as it does not come to the gate itself."""

    async def story() -> None:
        async with Hall(Tonnage(App(), rate_limit="2/1h", rate_store=RateTable(keys=8))) as hall:
            hall.sweeper.counting = Counting(lambda scope: f"GET {scope['path']}")
            client = await hall.connect()
            for _ in range(5):
                client.send(_get("/200"))
                await client.response()

            counted = _counted(hall)["GET /200"]
            assert (counted.statuses, counted.shed) == ((0, 2, 0, 3, 0), 3)

    run(story())


def test_many_requests_on_many_connections_are_all_counted() -> None:
    """Exactly."""

    async def story() -> None:
        async with Hall(App()) as hall:

            async def ask(times: int) -> None:
                client: Any = await hall.connect()
                for _ in range(times):
                    client.send(GET)
                    await client.response()

            await asyncio.gather(*(ask(20) for _ in range(10)))

            assert _statuses(hall) == {"GET /": (0, 200, 0, 0, 0)}
            assert sum(_counted(hall)["GET /"].buckets) == 200

    run(story())
