"""An application that has jobs done: ``/job/NAME`` calls a function of ``functions`` isolated."""

from __future__ import annotations

import json
import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from tests.jobs import functions

from tonnage import isolated
from tonnage.errors import RequestRefusedError


async def hello(request: Request) -> Response:
    """Answer at once."""
    return PlainTextResponse("hello")


async def job(request: Request) -> Response:
    """Call the function with the arguments and options of the body, and tell what came of it."""
    asked = await request.json()
    function = getattr(functions, request.path_params["name"])
    try:
        value = await isolated(function, *asked["args"], **asked["options"])
    except RequestRefusedError:
        raise
    except Exception as error:  # noqa: BLE001 - any is told of
        return JSONResponse({"error": type(error).__name__, "text": str(error)})
    return JSONResponse({"value": value if not isinstance(value, bytes) else len(value)})


async def steps(request: Request) -> Response:
    """Stream what a generator yields, one line each."""
    path = request.query_params["path"]

    async def lines() -> Any:
        async for each in functions.count_noted(path):
            yield f"{each}\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def begin(request: Request) -> Response:
    """Tell how many seconds pass until a job's function begins."""
    began = time.monotonic()
    return Response(json.dumps(await isolated(functions.clock, 0.0) - began))


app = Starlette(
    routes=[
        Route("/", hello),
        Route("/job/{name}", job, methods=["POST"]),
        Route("/steps", steps),
        Route("/begin", begin),
    ]
)
