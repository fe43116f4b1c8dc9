"""The application of ``jobs``, behind an import of three seconds: each request is one job.

``/call?way=...&bytes=...`` answers how long it took to the function's first line, and to its whole
result. ``PAUSE_SECONDS`` is how long the import takes.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from anyio import to_process
from fastapi import FastAPI

from tonnage import isolated

MEMORY = "400M"
"""Of a job: a result of 100 MB is there twice while it is passed on."""

time.sleep(float(os.environ.get("PAUSE_SECONDS", "3")))

app = FastAPI()
_pools: list[ProcessPoolExecutor] = []


@app.get("/")
async def root() -> dict[str, str]:
    """Do next to nothing."""
    return {"hello": "world"}


@app.get("/call")
async def call(way: str, bytes: int = 0) -> dict[str, float]:
    """Have one job done in *way*; return its seconds."""
    began = time.monotonic()
    first_line, content = await _WAYS[way](bytes)
    ended = time.monotonic()
    assert len(content) == bytes
    return {"start": first_line - began, "whole": ended - began}


def work(count: int) -> tuple[float, bytes]:
    """Return when this line was reached, on the machine's clock, and so many bytes."""
    first_line = time.monotonic()
    return first_line, b"x" * count


async def _new(count: int) -> tuple[float, bytes]:
    return await isolated(work, count, memory=MEMORY)


async def _warm(count: int) -> tuple[float, bytes]:
    return await kept(count)


@isolated(memory=MEMORY, keep_warm=60)
def kept(count: int) -> tuple[float, bytes]:
    """Do the same, in a process that stays."""
    return work(count)


async def _pool(count: int) -> tuple[float, bytes]:
    if not _pools:
        context = multiprocessing.get_context("spawn")
        _pools.append(ProcessPoolExecutor(1, mp_context=context))
    return await asyncio.get_running_loop().run_in_executor(_pools[0], partial(work, count))


async def _anyio(count: int) -> tuple[float, bytes]:
    return await to_process.run_sync(work, count)


_WAYS = {"new": _new, "warm": _warm, "pool": _pool, "anyio": _anyio}
