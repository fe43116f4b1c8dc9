"""FastAPI, with the limits added as a middleware."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Body, FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from tests.frameworks.path_sites.limits import LARGE, LIMITS, SLOW, TEXT, pieces, uploads

from tonnage import Tonnage

app = FastAPI()
app.add_middleware(
    Tonnage,
    **LIMITS | {"routes": LIMITS["routes"] | SLOW},
)


@app.get("/limited")
def limited() -> str:
    """Be limited in rate."""
    return "ok"


@app.post("/echo")
async def echo(request: Request) -> int:
    """Count a body."""
    return len(await request.body())


@app.post("/json")
async def json(value: Annotated[dict[str, str], Body()]) -> int:
    """Have FastAPI read the body, which makes a 400 of all that goes wrong."""
    return len(value)


@app.post("/upload")
async def upload(request: Request) -> str:
    """Take a file."""
    async with uploads.receive(request) as files:
        return files["photo"].type


@app.get("/text")
def text() -> PlainTextResponse:
    """Say what gains by compression."""
    return PlainTextResponse(TEXT, headers={"X-Powered-By": "tea"})


@app.get("/large")
def large() -> PlainTextResponse:
    """Say too much at once."""
    return PlainTextResponse(LARGE)


@app.get("/pieces")
@app.get("/events")
def endless() -> StreamingResponse:
    """Say too much in the end."""
    return StreamingResponse(pieces(), media_type="application/octet-stream")


@app.get("/slow")
async def slow() -> str:
    """Take longer than there is time."""
    await asyncio.sleep(20)
    return "late"
