"""Small applications that the promises are tested with, each named by its target's attribute.

Plain ASGI, so that a server with one starts in a third of a second and holds next to nothing.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

MIB = 2**20
PAGE_BYTES = 4096

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the path says."""
    if scope["type"] == "lifespan":
        return await _live(receive, send)
    if scope["type"] == "websocket":
        return await _echo(receive, send)
    query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    await _ROUTES[scope["path"]](scope, query, receive, send)
    return None


async def fails_to_start(scope: Scope, receive: Receive, send: Send) -> None:
    """Fail in the lifespan's startup, as an app without its database does."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database at db:5432"})


def wsgi(environ: MutableMapping[str, Any], start_response: Any) -> list[bytes]:
    """Say which process answers."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        print(f"lifespan {message['type'].rpartition('.')[2]} in {os.getpid()}", flush=True)
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _echo(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif message["type"] == "websocket.disconnect":
            return
        else:
            await send({"type": "websocket.send", "text": f"echo {message['text']}"})


async def _respond(send: Send, text: str, status: int = 200) -> None:
    headers = [(b"content-type", b"text/plain"), (b"x-worker", str(os.getpid()).encode())]
    headers.append((b"content-length", str(len(text)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


async def _hello(scope: Scope, query: dict[str, str], receive: Receive, send: Send) -> None:
    await _respond(send, "hello")


async def _work(scope: Scope, query: dict[str, str], receive: Receive, send: Send) -> None:
    """Hold *mb* MB for *ms* milliseconds."""
    block = bytearray(int(query.get("mb", 8)) * MIB)
    block[::PAGE_BYTES] = b"x" * (len(block) // PAGE_BYTES)
    await asyncio.sleep(int(query.get("ms", 300)) / 1000)
    await _respond(send, str(len(block)))


async def _stuck(scope: Scope, query: dict[str, str], receive: Receive, send: Send) -> None:
    """Keep the event loop from turning."""
    time.sleep(float(query.get("seconds", 1)))  # noqa: ASYNC251 - what is tested
    await _respond(send, "free again")


async def _stream(scope: Scope, query: dict[str, str], receive: Receive, send: Send) -> None:
    """Send *parts* parts, one every 50 ms."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(int(query.get("parts", 5))):
        part = f"part {number}\n".encode()
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": b"end"})


async def _client(scope: Scope, query: dict[str, str], receive: Receive, send: Send) -> None:
    """Say who asks, as far as the server knows."""
    client = scope.get("client")
    await _respond(send, f"{scope['scheme']} {client[0] if client else None}")


async def _variable(scope: Scope, query: dict[str, str], receive: Receive, send: Send) -> None:
    """Say what an environment variable holds."""
    await _respond(send, str(os.environ.get(query["name"])))


async def _orphan(scope: Scope, query: dict[str, str], receive: Receive, send: Send) -> None:
    """Start a program that leaves one of its own behind, as many a shell script does."""
    process = await asyncio.create_subprocess_exec("sh", "-c", "sleep 0.05 & echo $!", stdout=-1)
    printed, _ = await process.communicate()
    await _respond(send, printed.decode().strip())


async def _child(scope: Scope, query: dict[str, str], receive: Receive, send: Send) -> None:
    """Fork a process, as multiprocessing does, and end it; say what limits its data."""
    context = multiprocessing.get_context("fork")
    told: Any = context.SimpleQueue()
    process = context.Process(target=_tell_limit, args=(told,))
    process.start()
    limit = told.get()
    process.terminate()
    process.join()
    await _respond(send, f"{limit} {process.exitcode}")


def _tell_limit(told: Any) -> None:
    told.put(resource.getrlimit(resource.RLIMIT_DATA)[0])
    time.sleep(60)


async def _count(scope: Scope, query: dict[str, str], receive: Receive, send: Send) -> None:
    """Count the body's bytes as they come."""
    count, more = 0, True
    while more:
        message = await receive()
        count += len(message.get("body", b""))
        more = message.get("more_body", False)
    await _respond(send, str(count))


_ROUTES: dict[str, Callable[[Scope, dict[str, str], Receive, Send], Awaitable[None]]] = {
    "/": _hello,
    "/work": _work,
    "/stuck": _stuck,
    "/stream": _stream,
    "/client": _client,
    "/variable": _variable,
    "/count": _count,
    "/orphan": _orphan,
    "/child": _child,
}


def start_thread() -> Any:
    """Make the application, with a thread started meanwhile, as some client libraries do."""
    forever = threading.Event()
    threading.Thread(target=forever.wait, name="metrics-flusher", daemon=True).start()
    return app
