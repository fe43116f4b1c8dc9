"""What hostile clients are let loose on: an application that trusts its limits, and says little.

``/`` is for those who mean no harm, ``/large`` for those who do not read. The rest takes bodies, as
careful applications do (``/count``), as most do (``/json``), as some do (``/ignore``: not at all),
or receives photos (``/photos``), kept in ``$KEEP`` with the names that they got.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tonnage.web.path.uploads import UploadError, Uploads

uploads = Uploads(max_bytes="2M", types=["image/png", "image/gif"], directory=os.environ["SPOOL"])


async def hello(request: Request) -> Response:
    """Say hello, and to whom."""
    return JSONResponse({"hello": request.client.host if request.client else None})


async def count(request: Request) -> Response:
    """Count the body as it comes."""
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return JSONResponse({"bytes": size})


async def whole(request: Request) -> Response:
    """Read the body whole, and say how many values are in its list."""
    return JSONResponse({"values": len(await request.json())})


async def photos(request: Request) -> Response:
    """Keep photos."""
    async with uploads.receive(request) as files:
        kept = [photo.move_to(os.environ["KEEP"]).name for photo in files.all("photo")]
        return JSONResponse({"kept": kept}, 201)


async def large(request: Request) -> Response:
    """Send 4 MB, piece by piece."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(65536)

    return StreamingResponse(pieces())


async def ignore(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """Answer without a look at the body."""
    await JSONResponse({"ignored": True})(scope, receive, send)


async def refuse(request: Request, error: Exception) -> Response:
    """Answer a refusal as it wants to be answered."""
    assert isinstance(error, UploadError)
    answer = error.problem.answer()
    return Response(answer.body, answer.status, media_type=answer.content_type.decode())


_PAGES = Starlette(
    routes=[
        Route("/", hello),
        Route("/large", large),
        Route("/count", count, methods=["POST"]),
        Route("/json", whole, methods=["POST"]),
        Route("/photos", photos, methods=["POST"]),
    ],
    exception_handlers={UploadError: refuse},
)


async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """Answer ``/ignore`` at once, and leave the rest to Starlette."""
    if scope["type"] == "http" and scope["path"] == "/ignore":
        await ignore(scope, receive, send)
    else:
        await _PAGES(scope, receive, send)
