"""An application that goes wrong in every way memory knows; the innocent routes are ``app``'s.

``/burst`` allocates at full speed until 2 GB, in four ways (``grow``); ``/leak`` keeps 64 KB a
request; ``/garbage`` parses JSON and drops it, but for a few survivors that pin the allocator's
arenas; ``/read`` and ``/write`` fill the page cache; ``/fork`` and ``/shared`` grow outside of the
worker. None knows of a limit, and none holds anything on purpose but ``/leak`` and ``/garbage``.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from fastapi import Response

from benchmarks.app import MIB, PAGE_BYTES, app

__all__ = ["GROWTHS", "app", "grow"]

BURST_MB = 2048
CHUNK_BYTES = MIB
ROW_BYTES = 600
"""What one row of ``objects`` comes to, about: a dictionary, a list and five strings."""

leaked: list[bytearray] = []
survivors: list[Any] = []


def objects(mb: int) -> Iterator[object]:
    """Small dictionaries and strings, as rows of a table become."""
    for number in range(mb * MIB // ROW_BYTES):
        yield {
            "id": number,
            "name": f"user {number}",
            "mail": f"user{number}@example.org",
            "tags": [f"a{number}", f"b{number}"],
        }


def chunks(mb: int) -> Iterator[object]:
    """Byte arrays of 1 MB, as an upload that is collected becomes."""
    for _ in range(mb):
        yield bytearray(CHUNK_BYTES)


def whole(mb: int) -> Iterator[object]:
    """One byte array for all of it."""
    yield bytearray(mb * MIB)


def arrays(mb: int) -> Iterator[object]:
    """Arrays of numpy, 1 MB each."""
    import numpy as np

    for _ in range(mb):
        yield np.ones(CHUNK_BYTES // 8)


GROWTHS: dict[str, Callable[[int], Iterator[object]]] = {
    "objects": objects,
    "chunks": chunks,
    "whole": whole,
    "numpy": arrays,
}


def grow(kind: str, mb: int) -> int:
    """Allocate *mb* MB in the way of *kind*, all held until the end; return how many pieces."""
    return len(list(GROWTHS[kind](mb)))


@app.get("/rows")
async def rows(number: int = 20) -> list[dict[str, Any]]:
    """Answer as an ordinary route of a web backend does."""
    return [{"id": i, "name": f"user {i}", "tags": ["a", "b"]} for i in range(number)]


@app.get("/burst/{kind}")
async def burst(kind: str, mb: int = BURST_MB) -> int:
    """Grow without pause, in the event loop."""
    return grow(kind, mb)


@app.get("/burst/{kind}/thread")
def burst_in_thread(kind: str, mb: int = BURST_MB) -> int:
    """Grow without pause, in a thread of the pool."""
    return grow(kind, mb)


@app.get("/leak")
async def leak(response: Response, kb: int = 64) -> int:
    """Keep *kb* KB for ever."""
    response.headers["X-Worker"] = str(os.getpid())
    block = bytearray(kb * 1024)
    leaked.append(block)
    return len(leaked)


@app.get("/garbage")
async def garbage(mb: int = 300, one_in: int = 1000) -> int:
    """Parse JSON until *mb* MB of objects are there; drop all but one row in *one_in*."""
    rows: list[dict[str, Any]] = []
    for part in count():
        text = json.dumps([{"id": part, "name": f"user {i}", "ok": True} for i in range(2000)])
        rows += json.loads(text)
        if _private_bytes() >= mb * MIB:
            break
        await asyncio.sleep(0)
    survivors.extend(rows[::one_in])
    return len(rows)


@app.get("/read")
def read(path: str, times: int = 1) -> int:
    """Read the whole file *times* times over."""
    total = 0
    buffer = bytearray(CHUNK_BYTES)
    for _ in range(times):
        with open(path, "rb", buffering=0) as file:
            while size := file.readinto(buffer):
                total += size
    return total


@app.get("/write")
def write(path: str, mb: int) -> int:
    """Write *mb* MB to a file, and leave it to the kernel when they reach the disk."""
    block = os.urandom(CHUNK_BYTES)
    with open(path, "wb", buffering=0) as file:
        return sum(file.write(block) for _ in range(mb))


@app.get("/fork")
async def fork(mb: int = BURST_MB) -> int:
    """Start a program that grows like ``chunks``; return its exit status.

    It lifts the limit on its data that it has inherited, as a runtime of another language may.
    """
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_DATA, (r.RLIM_INFINITY, r.RLIM_INFINITY)); "
        f"held = [bytearray({CHUNK_BYTES}) for _ in range({mb})]"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", code, stderr=-3)
    return await process.wait()


@app.get("/shared")
def shared(mb: int = BURST_MB) -> int:
    """Grow in shared memory, which no limit on a process's own data sees."""
    fd = os.memfd_create("shared")
    try:
        os.ftruncate(fd, mb * MIB)
        with mmap.mmap(fd, mb * MIB) as memory:
            for start in range(0, mb * MIB, CHUNK_BYTES):
                memory[start : start + CHUNK_BYTES] = bytes(CHUNK_BYTES)
                time.sleep(0.004)  # 200 MB/s
        return mb
    finally:
        os.close(fd)


def _private_bytes() -> int:
    with open("/proc/self/statm") as file:
        _, resident, mapped, *_ = map(int, file.read().split())
    return (resident - mapped) * PAGE_BYTES
