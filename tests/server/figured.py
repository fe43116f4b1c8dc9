"""The application of the real tests of figures: answers of each class, a cache, a WebSocket."""

from __future__ import annotations

from fastapi import FastAPI, Response, WebSocket

from tonnage.stores.cache import Cache

app = FastAPI()
cache: Cache[int] = Cache("things", max_bytes="1M")


@app.get("/things/{number}")
async def thing(number: int) -> int:
    """Answer from the cache, which does not have it."""
    found = cache.get(number)
    return number if found is None else found


@app.post("/things")
async def make(response: Response) -> None:
    """Lead elsewhere."""
    response.status_code = 303


@app.get("/missing/{number}")
async def missing(number: int, response: Response) -> None:
    """Say that there is no such thing."""
    response.status_code = 404


@app.get("/fails")
async def fails() -> None:
    """Fail."""
    raise ValueError("as it is meant to")


@app.websocket("/ws")
async def socket(websocket: WebSocket) -> None:
    """Take a WebSocket, and end it."""
    await websocket.accept()
    await websocket.close()


async def bare(scope, receive, send):  # type: ignore[no-untyped-def]
    """Answer 200 to everything but its lifespan, without a framework."""
    if scope["type"] != "http":
        return
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
    await send(head)
    await send({"type": "http.response.body"})


def wsgi(environ, start_response):  # type: ignore[no-untyped-def]
    """Answer by the path, as WSGI has it."""
    status = "404 Not Found" if environ["PATH_INFO"].startswith("/no") else "200 OK"
    start_response(status, [("Content-Length", "2")])
    return [b"ok"]
