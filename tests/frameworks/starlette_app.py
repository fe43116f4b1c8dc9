"""A Starlette application behind ``BaseHTTPMiddleware``, which runs it in a task of its own."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from tests.frameworks.hold import hold


class Stamp(BaseHTTPMiddleware):
    """Adds a header to every response."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Pass the request on, and stamp what comes back."""
        response = await call_next(request)
        response.headers["X-Stamp"] = request.method
        return response


async def home(request: Request) -> Response:
    """Say who asks."""
    return PlainTextResponse(f"hello {request.query_params.get('name', 'nobody')}")


async def body(request: Request) -> Response:
    """Count the bytes of a body as they come."""
    return JSONResponse({"bytes": sum([len(chunk) async for chunk in request.stream()])})


async def hold_in_thread(request: Request) -> Response:
    """Hold memory in a thread."""
    told = {name: int(value) for name, value in request.query_params.items()}
    return JSONResponse({"mb": await run_in_threadpool(hold, **told)})


async def fail(request: Request) -> Response:
    """Fail as applications do."""
    raise LookupError("nothing here")


async def post(request: Request) -> Response:
    """Show what is called by a word."""
    return PlainTextResponse(request.path_params["slug"])


app = Starlette(
    routes=[
        Route("/", home),
        Route("/body", body, methods=["POST"]),
        Route("/hold", hold_in_thread),
        Route("/fail", fail),
        Mount("/blog", routes=[Route("/posts/{slug}", post)]),
    ],
    middleware=[Middleware(Stamp)],
)
