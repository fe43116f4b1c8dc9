"""Photos to ``/photos``: kept in ``$KEEP`` if that is set, else dropped. ``/`` says hello."""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tonnage.web.path.uploads import UploadError, Uploads

uploads = Uploads(
    max_bytes="2.5M", types=["image/png"], wait="30s", directory=os.environ.get("SPOOL")
)


async def add(request: Request) -> Response:
    """Receive one photo."""
    async with uploads.receive(request) as files:
        photo = files["photo"]
        if folder := os.environ.get("KEEP"):
            photo.move_to(folder)
        return JSONResponse({"name": photo.name, "size": photo.size_bytes}, 201)


async def hello(request: Request) -> Response:
    """Say hello."""
    return JSONResponse({"hello": "world"})


async def refuse(request: Request, error: Exception) -> Response:
    """Answer a refusal as it wants to be answered."""
    assert isinstance(error, UploadError)
    answer = error.problem.answer()
    return Response(answer.body, answer.status, media_type="application/problem+json")


app = Starlette(
    routes=[Route("/", hello), Route("/photos", add, methods=["POST"])],
    exception_handlers={UploadError: refuse},
)
