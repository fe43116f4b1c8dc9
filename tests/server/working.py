"""An application whose requests are isolated jobs, for a real server: ``/NAME?ARGUMENT``.

Each answer is JSON: which worker has asked, and what the job has returned or how it failed.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import subprocess
import sys
import time
from typing import Any

from tonnage import isolated
from tonnage.errors import JobError
from tonnage.units import MIB

MEMORY_BYTES = 40 * MIB


def span(seconds: float) -> tuple[int, float, float]:
    """Return which process this is, and from when to when it has run."""
    began = time.monotonic()
    time.sleep(seconds)
    return os.getpid(), began, time.monotonic()


def pid(file: str) -> int:
    """Say in *file* which process this is, and hang."""
    with open(file, "a", encoding="ascii") as told:
        told.write(f"{os.getpid()}\n")
    time.sleep(60)
    return os.getpid()


def parent(file: str) -> int:
    """Do the same with a process of its own, apart from this one's session."""
    below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    apart = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
    )
    with open(file, "a", encoding="ascii") as told:
        told.write(f"{below.pid}\n{apart.pid}\n")
    return pid(file)


@isolated(memory=MEMORY_BYTES, keep_warm=30)
def warm(size: float) -> int:
    """Keep *size* bytes for the next call."""
    kept[:] = [bytearray(b"x") * int(size)]
    return os.getpid()


kept: list[bytearray] = []


@isolated(memory=200 * MIB, timeout=20)
def large(seconds: float) -> int:
    """Take nearly all that it may have, for a while."""
    block = bytearray(b"x") * (150 * MIB)
    time.sleep(seconds)
    return len(block)


def shared(size: float) -> int:
    """Fill *size* bytes of shared memory, which no limit of data bounds."""
    with mmap.mmap(-1, int(size)) as taken:
        _fill(taken)
        time.sleep(20)
        return len(taken)


def children(size: float) -> int:
    """Have three processes take *size* bytes together."""
    for _ in range(3):
        if not os.fork():
            block = bytearray(b"x") * (int(size) // 3)
            time.sleep(60)
            os._exit(len(block) and 0)
    time.sleep(20)
    return 3


def daemon(file: str) -> None:
    """Leave a daemon behind, as daemons are made, and end without a word."""
    if not os.fork():
        os.setsid()
        if not os.fork():
            with open(file, "a", encoding="ascii") as told:
                told.write(f"{os.getpid()}\n")
            time.sleep(60)
        os._exit(0)
    os.wait()
    while not os.path.exists(file) or not os.path.getsize(file):
        time.sleep(0.001)
    os._exit(1)


def _fill(taken: mmap.mmap) -> None:
    for at in range(0, len(taken), MIB):
        taken[at : at + MIB] = b"x" * MIB


async def run(name: str, argument: str) -> Any:
    """Run the job *name*."""
    if name == "warm":
        return await warm(float(argument or 0))
    if name == "large":
        return await large(float(argument))
    if name == "never":
        return await isolated(span, 0, memory="100G")
    if name == "brief":
        return await isolated(span, 30.0, memory=MEMORY_BYTES, timeout=0.2)
    if name == "hasty":
        return await isolated(span, 0.0, memory=MEMORY_BYTES, wait=0.1)
    if name == "span":
        return await isolated(span, float(argument), memory=MEMORY_BYTES)
    if name in ("shared", "children"):
        sized = {"shared": shared, "children": children}[name]
        return await isolated(sized, float(argument), memory=MEMORY_BYTES)
    if name == "usual":
        return await isolated(span, 0.0)
    if name == "now":
        return await isolated(span, 0.0, memory=MEMORY_BYTES, wait=0)
    function = {"pid": pid, "parent": parent, "daemon": daemon}[name]
    return await isolated(function, argument, memory=MEMORY_BYTES, timeout=60)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what the job has become."""
    if scope["type"] != "http":
        return
    answer: dict[str, Any] = {"worker": os.getpid()}
    name = scope["path"].strip("/")
    if name == "eat":
        # An ordinary request of 40 MB, which it still has when its first step is over: what is
        # taken and freed within one is not seen.
        eaten = bytearray(b"x") * (40 * MIB)
        await asyncio.sleep(0)
        answer["result"] = len(eaten)
    elif name:
        try:
            answer["result"] = await run(name, scope["query_string"].decode())
        except JobError as error:
            answer |= {"error": type(error).__name__, "text": str(error)}
    body = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
