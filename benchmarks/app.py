"""The application under test: plain FastAPI, without a word about memory limits.

``/work`` is the heart of the overload: it touches every page of *mb* MB and holds them *ms*
milliseconds, so that a request costs what it says and the server cannot know before it ran.
``X-Worker`` names the process that answered; only the ``kill`` benchmark reads it.
"""

from __future__ import annotations

import asyncio
import os

from fastapi import FastAPI, Response

MIB = 2**20
PAGE_BYTES = 4096

app = FastAPI()


@app.get("/")
async def root() -> dict[str, str]:
    """Do next to nothing."""
    return {"hello": "world"}


@app.get("/health")
async def health() -> dict[str, str]:
    """Answer as a server without a health route of its own must."""
    return {"status": "OK"}


@app.get("/work")
async def work(response: Response, mb: int = 8, ms: int = 300) -> dict[str, int]:
    """Touch *mb* MB and hold them for *ms* milliseconds."""
    response.headers["X-Worker"] = str(os.getpid())
    block = bytearray(mb * MIB)
    block[::PAGE_BYTES] = b"\x01" * (len(block) // PAGE_BYTES)
    await asyncio.sleep(ms / 1000)
    return {"mb": len(block) // MIB}


@app.get("/worker")
async def worker(response: Response) -> dict[str, int]:
    """Say which process answers."""
    response.headers["X-Worker"] = str(os.getpid())
    return {"pid": os.getpid()}
