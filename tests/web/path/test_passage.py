"""What comes in is counted, and what goes out is looked at."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from tests.web.path.talk import (
    TEXT,
    ask,
    hello,
    length,
    read_all,
    request,
    say,
    stream,
    talk,
)
from tests.web.virtual import run

from tonnage.errors import RequestRefusedError
from tonnage.problem import Problem
from tonnage.web.path.middleware import Tonnage
from tonnage.web.respond import Receive, Scope, Send

JSON = {"content-type": "application/json"}


def sized(count: int, **more: str) -> dict[str, str]:
    """Return the headers of a body that announces *count* bytes."""
    return {"content-type": "application/json", "content-length": str(count), **more}


# Bodies.


def test_a_body_that_announces_too_much_is_refused_unread() -> None:
    """The connection closes, since the body may be on its way."""
    reply = ask(Tonnage(hello, max_body="10"), "POST /", sized(11), [b"x" * 11])
    assert (reply.status, reply.asked) == (413, 0)
    assert reply.json()["maxBytes"] == 10
    assert reply.headers["connection"] == "close"
    assert reply.headers["content-type"] == "application/problem+json"


def test_over_http_2_only_the_stream_ends() -> None:
    """It has no Connection header; to send one would break the connection."""
    reply = ask(Tonnage(hello, max_body="10"), "POST /", sized(11), http_version="2")
    assert reply.status == 413
    assert "connection" not in reply.headers


@pytest.mark.parametrize("announced", ["9" * 30, "9" * 5000])
def test_an_absurd_length_is_too_large(announced: str) -> None:
    """Python refuses to read very long numbers."""
    headers = {"content-length": announced}
    assert ask(Tonnage(hello, max_body="10"), "POST /", headers).status == 413


@pytest.mark.parametrize("count", [0, 10])
def test_a_body_within_its_limit_passes(count: int) -> None:
    """To the byte."""
    reply = ask(Tonnage(hello, max_body="10"), "POST /", sized(count), [b"x" * count])
    assert (reply.status, reply.body) == (200, b"done")


@pytest.mark.parametrize(
    "headers",
    [
        {"transfer-encoding": "chunked"},
        {"content-length": "5"},
        {"content-length": "nonsense"},
        {},
    ],
)
def test_a_body_is_counted_whatever_it_announces(headers: dict[str, str]) -> None:
    """Chunked, or longer than it says: no more is read than up to the limit."""
    reply = ask(Tonnage(hello, max_body="10"), "POST /", {**JSON, **headers}, [b"12345"] * 9)
    assert (reply.status, reply.asked) == (413, 3)


def test_a_get_with_a_body_is_counted_too() -> None:
    """There is nothing that forbids one."""
    headers = {"transfer-encoding": "chunked"}
    assert ask(Tonnage(hello, max_body="10"), "GET /", headers, [b"12345"] * 9).status == 413


def test_uploads_have_their_own_limit() -> None:
    """By the type that the body says it has."""
    app = Tonnage(hello, max_body="10", max_upload="20")
    photo = {"content-type": "image/png"}
    assert ask(app, "POST /", photo, [b"x" * 20]).status == 200
    assert ask(app, "POST /", photo, [b"x" * 21]).json()["maxBytes"] == 20
    assert ask(app, "POST /", JSON, [b"x" * 20]).json()["maxBytes"] == 10


async def swallowing(scope: Scope, receive: Receive, send: Send) -> None:
    """Take what goes wrong with the body for an empty one."""
    try:
        body = await read_all(receive)
    except Exception:  # noqa: BLE001 - as careless applications do
        body = b""
    await say(send, body)


async def answering_400(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as frameworks do that read the body before the handler."""
    try:
        await read_all(receive)
    except Exception as error:
        await say(send, b"bad body", 400)
        raise ValueError("could not be read") from error


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    """Let another error out, and do not answer."""
    try:
        await read_all(receive)
    except RequestRefusedError:
        raise KeyError("lost") from None


async def in_a_group(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body in a task of a group."""
    async with asyncio.TaskGroup() as group:
        group.create_task(read_all(receive))
    await say(send)


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Take the error, and answer nothing."""
    try:
        await read_all(receive)
    except RequestRefusedError:
        return


@pytest.mark.parametrize("app", [swallowing, answering_400, failing, in_a_group, silent])
def test_whatever_the_application_makes_of_it_the_client_gets_413(app: Any) -> None:
    """An application may catch the error, wrap it, or lose it."""
    reply = ask(Tonnage(app, max_body="10"), "POST /", JSON, [b"12345"] * 9)
    assert (reply.status, reply.error) == (413, None)
    assert reply.is_complete


def test_who_reads_on_is_told_that_the_client_has_gone() -> None:
    """Nothing more is read for it."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(5):
            try:
                seen.append((await receive())["type"])
            except RequestRefusedError:
                seen.append("refused")

    reply = ask(Tonnage(app, max_body="10"), "POST /", JSON, [b"12345"] * 9)
    assert seen == ["http.request", "http.request", "refused", *["http.disconnect"] * 2]
    assert (reply.status, reply.asked) == (413, 3)


def test_a_body_that_turns_out_too_large_while_it_is_answered_is_cut() -> None:
    """An echo that has begun can only be ended."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            message = await receive()
            await send({"type": "http.response.body", "body": message["body"], "more_body": True})

    reply = ask(Tonnage(app, max_body="10"), "POST /", JSON, [b"12345"] * 9)
    assert (reply.status, reply.body, reply.is_complete) == (200, b"1234512345", False)
    assert reply.error is None


def test_a_refusal_that_the_application_lets_out_is_answered() -> None:
    """As those of uploads are, and its own."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RequestRefusedError(Problem(415, "wrong_type", "send a photo"))

    reply = ask(Tonnage(app))
    assert (reply.status, reply.json()["error"], reply.error) == (415, "wrong_type", None)


def test_a_refusal_that_the_application_answers_itself_stays_as_it_is() -> None:
    """It has decided."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            raise RequestRefusedError(Problem(415, "wrong_type", "send a photo"))
        except RequestRefusedError:
            await say(send, b"a photo, please", 422)

    assert ask(Tonnage(app)).status == 422


def test_other_errors_of_the_application_are_the_servers() -> None:
    """It answers 500 and logs them as always."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("mine")

    reply = ask(Tonnage(app, max_body="10", max_response="10", timeout=1))
    assert isinstance(reply.error, KeyError)
    assert reply.messages == []


# Responses.


def test_a_response_that_announces_too_much_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """It is not begun, the client is told why, and so is the log."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await say(send, b"x" * 11, headers=[TEXT, length(11)])

    with caplog.at_level(logging.WARNING, "tonnage.requests"):
        reply = ask(Tonnage(app, max_response="10"), "GET /all")
    assert (reply.status, reply.json()["error"]) == (500, "response_too_large")
    assert (reply.json()["maxBytes"], reply.json()["bytes"]) == (10, 11)
    assert (reply.types, reply.is_complete) == (["start", "body"], True)
    assert "GET /all: the response would be larger than 10 B" in caplog.text


def test_names_of_headers_may_come_in_any_case() -> None:
    """Django writes them as people do."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await say(send, b"x" * 11, headers=[(b"Content-Length", b"11"), (b"Server", b"x")])

    assert ask(Tonnage(app, max_response="10")).status == 500
    assert "Server" not in ask(Tonnage(app, remove_headers=["server"])).headers


def test_a_response_in_one_piece_is_replaced_though_it_announces_nothing() -> None:
    """Its start waits for its first piece."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await say(send, b"x" * 11)

    assert ask(Tonnage(app, max_response="10")).json()["error"] == "response_too_large"


def test_a_stream_that_grows_too_large_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    """What makes it is ended, and the server is left to close the connection."""
    made: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
        for number in range(1000):
            made.append(number)
            await send({"type": "http.response.body", "body": b"1234", "more_body": True})

    with caplog.at_level(logging.WARNING, "tonnage.requests"):
        reply = ask(Tonnage(app, max_response="10"))
    assert (reply.status, reply.body, reply.is_complete) == (200, b"12341234", False)
    assert made == [0, 1, 2]
    assert reply.error is None
    assert "its response had begun, so its connection is closed" in caplog.text


def test_what_goes_on_to_make_a_replaced_response_is_ended() -> None:
    """Nobody would get it."""
    made: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
        for number in range(1000):
            made.append(number)
            await send({"type": "http.response.body", "body": b"x" * 11, "more_body": True})

    reply = ask(Tonnage(app, max_response="10"))
    assert (reply.status, made, reply.error) == (500, [0, 1], None)


def test_a_response_within_its_limit_passes_as_it_is() -> None:
    """In pieces as it was sent, to the byte."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await stream(send, b"12345", b"67890")

    reply = ask(Tonnage(app, max_response="10"))
    assert [each.get("body") for each in reply.messages] == [None, b"12345", b"67890", b""]


def test_head_may_say_how_large_it_would_be() -> None:
    """It has no body."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await say(send, b"", headers=[TEXT, length(10**9)])

    reply = ask(Tonnage(app, max_response="10"), "HEAD /")
    assert (reply.status, reply.headers["content-length"]) == (200, str(10**9))


@pytest.mark.parametrize("sized", [True, False])
def test_a_body_that_is_not_sent_is_not_counted(sized: bool) -> None:
    """Frameworks hand over the body of a GET, and the server drops it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await say(send, b"x" * 3000, headers=[TEXT, length(3000)] if sized else [TEXT])

    reply = ask(Tonnage(app, max_response="2K"), "HEAD /")
    assert (reply.status, reply.is_complete) == (200, True)


def test_a_refusal_of_head_has_no_body() -> None:
    """But it has the length of what GET would have got."""
    reply = ask(Tonnage(hello, rate_limit="1/1h", rate_store=_full()), "HEAD /")
    assert (reply.status, reply.body) == (429, b"")
    assert int(reply.headers["content-length"]) > 0


def _full() -> Any:
    from tonnage.rates.table import RateTable

    table = RateTable(64)
    ask(Tonnage(hello, rate_limit="1/1h", rate_store=table))
    return table


@pytest.mark.parametrize("status", [204, 304])
def test_responses_without_a_body_pass(status: int) -> None:
    """Start and an empty end."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await say(send, b"", status, [(b"etag", b'"1"')])

    reply = ask(Tonnage(app, max_response="10", compress=True, timeout=1))
    assert (reply.status, reply.types, reply.body) == (status, ["start", "body"], b"")


def test_an_event_stream_begins_at_once() -> None:
    """A browser sees it opened, although the first event is long to come."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await stream(send, b"data: 1\n\n", wait_seconds=5.0, headers=events)

    reply = ask(Tonnage(app, max_response="10K", timeout=30))
    assert (reply.times[0], reply.times[1]) == (0.0, 5.0)


def test_a_route_that_streams_has_no_limits_of_size_or_time() -> None:
    """Its responses have no end."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await stream(send, b"12345678", b"12345678", wait_seconds=60.0)

    routes = {"GET /events": {"stream": True}}
    limited = Tonnage(app, max_response="10", timeout=1, routes=routes)
    assert ask(limited, "GET /events").body == b"12345678" * 2
    assert ask(limited, "GET /other").status == 504


def test_headers_are_removed() -> None:
    """Whatever the application has put there."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await say(send, headers=[TEXT, (b"x-powered-by", b"PHP"), (b"server", b"x")])

    reply = ask(Tonnage(app, remove_headers=["Server", "X-Powered-By"]))
    assert reply.headers == {"content-type": "text/plain"}


def test_headers_may_be_any_iterable_or_missing() -> None:
    """As the specification has it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start: dict[str, Any] = {"type": "http.response.start", "status": 200}
        if scope["path"] == "/some":
            start["headers"] = (each for each in [TEXT, length(4)])
        await send(start)
        await send({"type": "http.response.body", "body": b"done"})

    full = Tonnage(
        app, max_response="10", compress=True, remove_headers=["server"], cors_origins=["*"]
    )
    assert ask(full, "GET /some").headers["content-length"] == "4"
    assert ask(full, "GET /none").body == b"done"
    assert ask(Tonnage(app, max_response="10"), "GET /some").headers["content-type"] == "text/plain"


def test_hints_pushes_and_trailers_pass_unharmed() -> None:
    """Whether the start is held or not, what is none of a response goes its own way."""
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>"]}
    push = {"type": "http.response.push", "path": "/a.css", "headers": []}
    start = {"type": "http.response.start", "status": 200, "headers": [TEXT], "trailers": True}
    body = {"type": "http.response.body", "body": b"done", "more_body": False}
    trailers = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in (hint, start, push, body, trailers):
            await send(message)

    full = Tonnage(app, max_response="10", max_body="10", timeout=1)
    assert ask(full).messages == [hint, push, start, body, trailers]
    packed = Tonnage(app, max_response="10", compress=True, timeout=1)
    types = ask(packed, headers={"accept-encoding": "gzip"}).types
    assert types == ["early_hint", "push", "start", "body", "trailers"]


@pytest.mark.parametrize("limits", [{}, {"max_response": "10"}, {"compress": True}])
def test_a_file_that_the_server_sends_itself_passes(limits: dict[str, Any]) -> None:
    """It stands for the whole body."""
    start = {"type": "http.response.start", "status": 200, "headers": [TEXT]}
    file = {"type": "http.response.pathsend", "path": "/etc/hostname"}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start)
        await send(file)

    extensions: dict[str, Any] = {"http.response.pathsend": {}}
    headers = {"accept-encoding": "gzip"}
    reply = ask(Tonnage(app, **limits), headers=headers, extensions=extensions)
    assert reply.types == ["start", "pathsend"]
    assert reply.messages[1] == file


def test_the_applications_own_start_is_left_as_it_is() -> None:
    """It may send the same message again, to another."""
    start = {"type": "http.response.start", "status": 200, "headers": [TEXT]}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start)
        await send({"type": "http.response.body", "body": b"done"})

    full = Tonnage(
        app, rate_limit="9/1s", remove_headers=["content-type"], cors_origins=["*"], compress=True
    )
    assert "ratelimit" in ask(full).headers
    assert start == {"type": "http.response.start", "status": 200, "headers": [TEXT]}


def test_a_response_that_is_begun_and_never_continued_is_passed_on() -> None:
    """The server says what is wrong with it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})

    assert ask(Tonnage(app, max_response="10")).types == ["start"]


def test_an_error_after_a_start_that_was_held_leaves_the_answer_to_the_server() -> None:
    """Nothing has been sent yet, so it can still be a 500."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
        raise KeyError("mine")

    reply = ask(Tonnage(app, max_response="10"))
    assert isinstance(reply.error, KeyError)
    assert reply.messages == []


@pytest.mark.parametrize("headers", [{}, {"content-encoding": "gzip"}], ids=["plain", "packed"])
def test_a_client_that_has_gone_is_seen_through_the_passage(headers: dict[str, str]) -> None:
    """A gate behind this one does not serve who has given up."""
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(getattr(receive, "__self__", None).disconnected)  # type: ignore[union-attr]
        await say(send)

    class Cycle:
        disconnected = False

        async def receive(self) -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(self, message: Any) -> None:
            return None

    cycle, limited = Cycle(), Tonnage(app, max_body="1M", decompress=True)
    run(limited(request(headers=headers), cycle.receive, cycle.send))
    cycle.disconnected = True
    run(limited(request(headers=headers), cycle.receive, cycle.send))
    assert seen == [False, True]


def test_a_path_cannot_write_lines_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Nor fill it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await say(send, b"x" * 11)

    with caplog.at_level(logging.WARNING, "tonnage.requests"):
        ask(Tonnage(app, max_response="10"), "GET /a\nERROR all is lost" + "x" * 9999)
    assert "\n" not in caplog.messages[0]
    assert len(caplog.messages[0]) < 500


def test_messages_of_one_request_are_not_anothers() -> None:
    """Two at once, on one application."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(1.0)
        await say(send, scope["path"].encode())

    async def story() -> list[bytes]:
        limited = Tonnage(app, max_response="10", timeout=2)
        replies = [talk(limited, request(f"GET /{number}")) for number in range(5)]
        return [reply.body for reply in await asyncio.gather(*replies)]

    assert run(story()) == [b"/0", b"/1", b"/2", b"/3", b"/4"]
