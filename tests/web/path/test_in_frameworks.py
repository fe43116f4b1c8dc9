"""What Starlette and FastAPI make of a limit that is broken inside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Form, UploadFile
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from tests.web.path.talk import Reply, request, talk

from tonnage.errors import RequestRefusedError
from tonnage.problem import Problem
from tonnage.web.path.middleware import Tonnage

WRONG = Problem(415, "wrong_type", "send a photo")


class Item(BaseModel):
    """What a body holds."""

    name: str


def refuse() -> None:
    """Refuse, as a dependency may."""
    raise RequestRefusedError(WRONG)


bodies, answers = APIRouter(), APIRouter()


@bodies.post("/json")
async def take_json(item: Item) -> Item:
    """Have the framework read it."""
    return item


@bodies.post("/sync")
def take_in_thread(item: Item) -> Item:
    """Be in a thread."""
    return item


@bodies.post("/form")
async def take_form(name: Annotated[str, Form()]) -> str:
    """Have a form read."""
    return name


@bodies.post("/file")
async def take_file(file: UploadFile) -> int:
    """Have a file spooled."""
    return len(await file.read())


@bodies.post("/raw")
async def take_raw(request: Request) -> int:
    """Read it whole."""
    return len(await request.body())


@bodies.post("/stream")
async def take_stream(request: Request) -> int:
    """Read it in parts."""
    return sum([len(part) async for part in request.stream()])


@bodies.post("/careful")
async def take_carefully(request: Request) -> str:
    """Take any error for an empty body."""
    try:
        await request.body()
    except Exception:  # noqa: BLE001 - as careless applications do
        return "nothing came"
    return "all came"


@answers.get("/refused")
async def refused() -> None:
    """Refuse in the handler."""
    refuse()


@answers.get("/depends", dependencies=[Depends(refuse)])
async def depends() -> None:
    """Not come here."""


@answers.get("/grouped")
async def grouped() -> None:
    """Refuse in a task of a group."""

    async def task() -> None:
        refuse()

    async with asyncio.TaskGroup() as group:
        group.create_task(task())


@answers.get("/large")
async def large() -> str:
    """Answer too much."""
    return "x" * 2000


@answers.get("/long")
async def long() -> StreamingResponse:
    """Answer without end."""

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 500

    return StreamingResponse(pieces())


@answers.get("/slow")
async def slow() -> None:
    """Answer too late."""
    await asyncio.sleep(50)


def make(*, with_base_middleware: bool) -> FastAPI:
    """Return an application with a route for each way that a body is read, or a limit broken."""
    app = FastAPI()
    app.add_middleware(Tonnage, max_body="1K", max_upload="2K", max_response="1K", timeout=0.1)
    if with_base_middleware:
        app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
    app.include_router(bodies)
    app.include_router(answers)
    return app


async def pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Be the middleware that most people write."""
    return await call_next(request)


@pytest.fixture(params=[False, True], ids=["plain", "with BaseHTTPMiddleware"], scope="module")
def app(request: pytest.FixtureRequest) -> FastAPI:
    """Return the application, once with a middleware of Starlette's kind around the limits."""
    return make(with_base_middleware=request.param)


def ask(app: Any, target: str, kind: str = "", parts: tuple[bytes, ...] = ()) -> Reply:
    """Send one request, on a loop with real time."""
    headers = {"content-type": kind, "transfer-encoding": "chunked"} if kind else {}
    scope = request(target, headers, query_string=b"", server=("localhost", 80))
    return asyncio.run(talk(app, scope, parts))


JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
FILE = "multipart/form-data; boundary=x"
FILE_PARTS = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n',
    *[b"y" * 500] * 9,
    b"\r\n--x--\r\n",
)


@pytest.mark.parametrize(
    ("path", "kind", "parts"),
    [
        ("/json", JSON, (b'{"name": "', *[b"y" * 500] * 9, b'"}')),
        ("/sync", JSON, (b'{"name": "', *[b"y" * 500] * 9, b'"}')),
        ("/form", FORM, (b"name=", *[b"y" * 500] * 9)),
        ("/file", FILE, FILE_PARTS),
        ("/raw", JSON, (b"y" * 500,) * 9),
        ("/stream", JSON, (b"y" * 500,) * 9),
        ("/careful", JSON, (b"y" * 500,) * 9),
    ],
)
def test_however_the_body_is_read_the_answer_is_413(
    app: FastAPI, path: str, kind: str, parts: tuple[bytes, ...]
) -> None:
    """FastAPI would answer 400 or 500 to most of these."""
    reply = ask(app, f"POST {path}", kind, parts)
    assert (reply.status, reply.json()["error"]) == (413, "payload_too_large")
    assert (reply.is_complete, reply.error) == (True, None)


@pytest.mark.parametrize("path", ["/refused", "/depends", "/grouped"])
def test_a_refusal_that_is_let_out_is_answered(app: FastAPI, path: str) -> None:
    """From a handler, a dependency, or a group of tasks."""
    reply = ask(app, f"GET {path}")
    assert (reply.status, reply.json()["error"], reply.error) == (415, "wrong_type", None)


def test_a_response_that_is_too_large_is_replaced(app: FastAPI) -> None:
    """It announces its length."""
    reply = ask(app, "GET /large")
    assert (reply.status, reply.json()["error"]) == (500, "response_too_large")


def test_an_endless_response_is_cut(app: FastAPI) -> None:
    """And what makes it is ended."""
    reply = ask(app, "GET /long")
    assert (reply.status, reply.body, reply.error) == (200, b"x" * 1000, None)


def test_a_cut_response_is_not_complete_for_the_client() -> None:
    """Unless Starlette's BaseHTTPMiddleware is around the limits: it ends every response well."""
    assert not ask(make(with_base_middleware=False), "GET /long").is_complete


def test_a_slow_route_is_ended(app: FastAPI) -> None:
    """One task further down too."""
    reply = ask(app, "GET /slow")
    assert (reply.status, reply.json()["error"], reply.error) == (504, "timed_out", None)


def test_what_breaks_no_limit_is_as_without() -> None:
    """The framework's own refusals too."""
    app = make(with_base_middleware=True)
    assert ask(app, "POST /json", JSON, (b'{"name": "a"}',)).json() == {"name": "a"}
    assert ask(app, "POST /json", JSON, (b"{}",)).status == 422
    assert ask(app, "GET /nowhere").status == 404
    assert ask(app, "POST /file", FILE, (FILE_PARTS[0], b"abc", FILE_PARTS[-1])).json() == 3
