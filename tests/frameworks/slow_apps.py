"""Applications that take too long, each in its own way, and count their threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

from fastapi import FastAPI
from flask import Flask, Response

fast = FastAPI()


@fast.get("/thread")
def in_thread(seconds: float) -> str:
    """Sleep in a thread of the framework's, which nobody can end."""
    time.sleep(seconds)
    return "late"


@fast.get("/own-thread")
async def in_own_thread(seconds: float) -> str:
    """Sleep in a thread of the event loop's pool."""
    await asyncio.to_thread(time.sleep, seconds)
    return "late"


@fast.get("/deaf")
async def deaf(seconds: float) -> str:
    """Take no notice of being cancelled."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(end - time.monotonic())
    return "late"


@fast.get("/threads")
async def threads() -> int:
    """Return how many threads there are."""
    return threading.active_count()


flask = Flask(__name__)


@flask.get("/rows")
def rows() -> Response:
    """Stream what nobody will take any more, until told so."""

    def lines() -> Iterator[str]:
        for _ in range(500):
            time.sleep(0.02)
            yield "x" * 1000

    return Response(lines(), mimetype="text/plain")


@flask.get("/pause")
def pause() -> Response:
    """Stream, with a pause that is too long, and then more than fits into any queue."""

    def lines() -> Iterator[str]:
        yield "begun"
        time.sleep(1.0)
        yield from ("x" for _ in range(100))

    return Response(lines(), mimetype="text/plain")


@flask.get("/busy")
def busy() -> dict[str, int]:
    """Return how many threads are in one of the streams."""
    import sys

    frames = sys._current_frames().values()
    names = []
    for frame in frames:
        found = frame
        while found is not None:
            names.append(found.f_code.co_name)
            found = found.f_back  # type: ignore[assignment]
    return {"streams": names.count("lines"), "waiting": names.count("sleep")}
