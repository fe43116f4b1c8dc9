"""The application under test behind limits: ours, and those that people put together today.

Both have the same on: a limit of 1 MB for bodies, of 100 million requests in 15 minutes for each
address, of 30 s for a request, gzip for what is larger than 1 KB, CORS for one site. The popular
ones count requests for Prometheus besides, as ``tonnage run`` does by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import JSONResponse

from benchmarks.app import root

SITE = "https://shop.example"
RATE, RATE_AS_SLOWAPI_SAYS_IT = "100000000/15m", "100000000 per 15 minutes"
MAX_BODY_BYTES = 2**20
TIMEOUT_SECONDS = 30.0


def _plain() -> FastAPI:
    app = FastAPI()
    app.get("/")(root)
    return app


def make_tonnage() -> FastAPI:
    """Make the application behind our middleware."""
    from tonnage.web.path.middleware import Tonnage

    app = _plain()
    app.add_middleware(
        Tonnage,
        max_body=MAX_BODY_BYTES,
        max_response="10M",
        timeout=TIMEOUT_SECONDS,
        rate_limit=RATE,
        compress=True,
        cors_origins=[SITE],
    )
    return app


def make_popular() -> FastAPI:
    """Make it behind the parts that are used most, each put on as its manual says."""
    from prometheus_fastapi_instrumentator import Instrumentator
    from slowapi import Limiter
    from slowapi.middleware import SlowAPIMiddleware
    from slowapi.util import get_remote_address

    app = _plain()
    app.state.limiter = Limiter(
        key_func=get_remote_address, default_limits=[RATE_AS_SLOWAPI_SAYS_IT], headers_enabled=True
    )
    app.middleware("http")(limit_body)
    app.middleware("http")(limit_time)
    app.add_middleware(SlowAPIMiddleware)
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=6)
    app.add_middleware(CORSMiddleware, allow_origins=[SITE], max_age=24 * 60 * 60)
    Instrumentator().instrument(app)
    return app


Next = Callable[[Request], Awaitable[Response]]


async def limit_body(request: Request, go_on: Next) -> Response:
    """Refuse a body that says it is too large: the recipe that is found everywhere."""
    if int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES:
        return JSONResponse({"detail": "too large"}, 413)
    return await go_on(request)


async def limit_time(request: Request, go_on: Next) -> Response:
    """Give up after a while: likewise."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await go_on(request)
    except TimeoutError:
        return JSONResponse({"detail": "timed out"}, 504)
