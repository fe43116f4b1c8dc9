"""Applications in which one route takes all the memory there is, in each framework's own way.

Each has ``/limit``, which lets its process grow by 64 MB from there and answers with its id,
``/``, and routes that never end by themselves: ``/async`` in the event loop, ``/sync`` in a thread
where the framework has any, and ``/objects``, which does not leave a byte.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import threading
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse

MIB = 2**20
ROOM_BYTES = 64 * MIB


def limit() -> str:
    """Let this process's data grow by :data:`ROOM_BYTES` from here; return its id."""
    with open("/proc/self/statm") as statm:
        data_bytes = int(statm.read().split()[5]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes + ROOM_BYTES, hard))
    return str(os.getpid())


def burst() -> str:
    """Take memory until there is none."""
    blocks: list[bytearray] = []
    while True:
        blocks.append(bytearray(MIB))


def burst_of_objects() -> str:
    """Take memory in small pieces, so that nothing at all is left."""
    pieces: list[Any] = []
    while True:
        pieces.append({"number": str(len(pieces)), "next": [len(pieces)]})


def burst_of_bare_objects() -> str:
    """Take it in the smallest pieces there are, and leave not one to who would handle it."""
    pieces: list[object] = []
    while True:
        pieces.append(object())


def make_fastapi() -> Any:
    """Make an application with both kinds of route, and some that leave work behind."""
    app = FastAPI()
    app.get("/sync")(burst)
    app.get("/objects")(burst_of_objects)
    app.get("/bare")(burst_of_bare_objects)

    @app.get("/")
    async def home() -> str:
        return _home()

    @app.get("/limit")
    async def limit_this_worker() -> str:
        return limit()

    @app.get("/async")
    async def burst_in_the_loop() -> str:
        return burst()

    @app.post("/body")
    async def read(request: Request) -> str:
        # As what parses a body does: it holds several times its size.
        body = await request.body()
        return str(len([bytearray(body) for _ in range(8)]))

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"begun"
            burst()

        return StreamingResponse(parts())

    @app.get("/task")
    async def leave_a_task() -> str:
        async def burst_later() -> None:
            burst()

        # Kept, and never looked at again.
        app.state.task = asyncio.create_task(burst_later())
        return "left"

    @app.get("/callback")
    async def leave_a_callback() -> str:
        asyncio.get_running_loop().call_soon(burst)
        return "left"

    @app.get("/thread")
    async def leave_a_thread() -> str:
        threading.Thread(target=burst, name="export").start()
        return "left"

    @app.websocket("/socket")
    async def socket(socket: WebSocket) -> None:
        await socket.accept()
        burst()

    return app


def make_careful_fastapi() -> Any:
    """Make an application whose handler of errors runs in a thread, and is the first that does."""
    app: FastAPI = make_fastapi()

    @app.exception_handler(Exception)
    def answer(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("something went wrong", 500)

    return app


def make_logging_fastapi() -> Any:
    """Make an application that logs what has failed and answers it, while the error is handled."""
    app: FastAPI = make_fastapi()

    @app.exception_handler(Exception)
    async def answer(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse(repr(error), 500)

    @app.middleware("http")
    async def log(request: Request, go_on: Callable[[Request], Any]) -> Any:
        try:
            return await go_on(request)
        except Exception:
            logging.getLogger("bursts").exception("it failed")
            raise

    return app


def make_starlette() -> Any:
    """Make an application behind a middleware that runs it in a task group."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    async def pass_on(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    def route(path: str, function: Callable[[], str], *, in_thread: bool) -> Route:
        async def answer(request: Request) -> Response:
            return PlainTextResponse(await run_in_threadpool(function) if in_thread else function())

        return Route(path, answer)

    return Starlette(
        routes=[
            route("/", _home, in_thread=False),
            route("/limit", limit, in_thread=False),
            route("/async", burst, in_thread=False),
            route("/sync", burst, in_thread=True),
            route("/objects", burst_of_objects, in_thread=True),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=pass_on)],
    )


def make_flask() -> Any:
    """Make a Flask application."""
    from flask import Flask

    app = Flask("bursts")
    for path, view in (
        ("/", _home),
        ("/limit", limit),
        ("/sync", burst),
        ("/objects", burst_of_objects),
    ):
        app.add_url_rule(path, view.__name__, view)
    return app


def make_django_asgi() -> Any:
    """Make a Django site, and return its ASGI handler."""
    _set_up_django()
    from django.core.asgi import get_asgi_application

    return get_asgi_application()


def make_django_wsgi() -> Any:
    """Make a Django site, and return its WSGI handler."""
    _set_up_django()
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def _set_up_django() -> None:
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="for tests only",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=_Views,
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    )
    django.setup()
    _Views.urlpatterns = _urls()


class _Views:
    """What Django takes for a module of URLs."""

    urlpatterns: list[Any]


def _urls() -> list[Any]:
    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    def view(function: Callable[[], str]) -> Callable[[HttpRequest], HttpResponse]:
        return lambda request: HttpResponse(function())

    async def burst_in_the_loop(request: HttpRequest) -> HttpResponse:
        return HttpResponse(burst())

    return [
        path("", view(_home)),
        path("limit", view(limit)),
        path("sync", view(burst)),
        path("objects", view(burst_of_objects)),
        path("async", burst_in_the_loop),
    ]


async def asgi(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """Answer without a framework."""
    assert scope["type"] == "http"
    body = _ROUTES[scope["path"]]().encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ: MutableMapping[str, Any], start_response: Any) -> Iterator[bytes]:
    """Answer without a framework; as generators do, begin only once there is a first part."""
    body = _ROUTES[environ["PATH_INFO"]]().encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield body


def careful_wsgi(environ: MutableMapping[str, Any], start_response: Any) -> list[bytes]:
    """Answer failures oneself, as WSGI frameworks without a signal do."""
    try:
        body = _ROUTES[environ["PATH_INFO"]]().encode()
    except Exception:  # noqa: BLE001 - that is what such frameworks do.
        start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
        return [b"something went wrong"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


def _home() -> str:
    return "hello"


_ROUTES = {
    "/": _home,
    "/limit": limit,
    "/sync": burst,
    "/async": burst,
    "/objects": burst_of_objects,
}
