"""A FastAPI application as people write them: both kinds of route, an upload, a WebSocket."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, File, UploadFile, WebSocket
from fastapi.responses import StreamingResponse
from tests.frameworks.hold import hold


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Print when it starts and stops, where the test can read it."""
    app.state.greeting = "hello"
    print("the application starts", flush=True)
    yield
    print("the application stops", flush=True)


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def root() -> dict[str, str]:
    """Answer from what the startup has made."""
    return {"said": app.state.greeting}


@app.get("/items/{item_id}")
def item(item_id: int, q: str | None = None) -> dict[str, int | str | None]:
    """Answer from a thread, with validated arguments."""
    return {"id": item_id, "q": q}


@app.get("/hold")
def hold_in_thread(mb: int, ms: int, late_ms: int = 0) -> dict[str, int]:
    """Hold memory in a thread."""
    return {"mb": hold(mb, ms, late_ms)}


@app.post("/upload")
async def upload(file: Annotated[UploadFile, File()]) -> dict[str, str | int | None]:
    """Take a file."""
    return {"name": file.filename, "bytes": len(await file.read())}


@app.get("/rows")
def rows() -> StreamingResponse:
    """Stream from a synchronous generator, which runs in a thread step by step."""

    def lines() -> Iterator[str]:
        for number in range(50):
            time.sleep(0.001)
            yield f"{number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    """Send back what comes."""
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)
