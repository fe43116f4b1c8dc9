"""An application whose jobs take longer than their clients wait; the query says where they note."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from tests.jobs import functions

from tonnage import Tonnage, isolated

_LONG_SECONDS = 60.0
_going_on: set[asyncio.Task[None]] = set()


async def later(request: Request) -> Response:
    """Wait for a job in the event loop."""
    path = request.query_params["path"]
    return PlainTextResponse(await isolated(functions.note_and_sleep, path, _LONG_SECONDS))


def threaded(request: Request) -> Response:
    """Wait for a job in a thread."""
    path = request.query_params["path"]
    return PlainTextResponse(isolated.wait(functions.note_and_sleep, path, _LONG_SECONDS))


async def late(request: Request) -> Response:
    """Wait for a job that does not come to an end in its time."""
    path = request.query_params["path"]
    await isolated(functions.note_and_sleep, path, _LONG_SECONDS, timeout="100ms")
    return PlainTextResponse("never")


async def shared(request: Request) -> Response:
    """Wait for a job that others may wait for too."""
    path = request.query_params["path"]
    await isolated(functions.note_and_finish, path, 1.0, job_id="one")
    return PlainTextResponse("done")


async def behind(request: Request) -> Response:
    """Answer at once, and have the job done then."""
    path = request.query_params["path"]
    return PlainTextResponse("soon", background=BackgroundTask(_finish, path))


async def handed_on(request: Request) -> Response:
    """Wait for a job, and leave another for when the request has ended."""
    path, ended = request.query_params["path"], asyncio.Event()
    task = asyncio.create_task(_finish(request.query_params["then"], ended))
    _going_on.add(task)
    try:
        return PlainTextResponse(await isolated(functions.note_and_sleep, path, _LONG_SECONDS))
    finally:
        asyncio.get_running_loop().call_later(0.1, ended.set)


async def _finish(path: str, when: asyncio.Event | None = None) -> None:
    if when is not None:
        await when.wait()
    await isolated(functions.note_and_finish, path, 0.6)


app = Tonnage(
    Starlette(
        routes=[
            Route("/later", later),
            Route("/threaded", threaded),
            Route("/timed", threaded),
            Route("/late", late),
            Route("/shared", shared),
            Route("/behind", behind),
            Route("/handed-on", handed_on),
        ]
    ),
    routes={"GET /timed": {"timeout": "500ms"}},
)
