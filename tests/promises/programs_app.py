"""Requests that grow outside of their worker's own memory, by no more than they are asked to."""

from __future__ import annotations

import mmap
import subprocess
import sys

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tonnage.units import MIB

_CODE = f"""
import sys, time
mb, wait = int(sys.argv[1]), float(sys.argv[2])
time.sleep(wait)
held = [bytearray({MIB}) for _ in range(mb)]
time.sleep(0.2)
"""


def programs(request: Request) -> JSONResponse:
    """Start ``count`` programs at once that grow by ``mb`` MB each; return how they ended."""
    count, mb = int(request.query_params["count"]), request.query_params["mb"]
    command = [sys.executable, "-S", "-c", _CODE, mb, request.query_params.get("wait", "0")]
    started = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(count)]
    return JSONResponse([each.wait() for each in started])


def shared(request: Request) -> JSONResponse:
    """Fill ``mb`` MB of shared memory, at full speed, and keep them for a moment."""
    mb = int(request.query_params["mb"])
    with mmap.mmap(-1, mb * MIB, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) as memory:
        block = bytes(MIB)
        for start in range(0, mb * MIB, MIB):
            memory[start : start + MIB] = block
    return JSONResponse(mb)


def hold(request: Request) -> JSONResponse:
    """Hold ``mb`` MB of the worker's own while a program starts; return how that one ended."""
    mb = int(request.query_params["mb"])
    held = bytearray(mb * MIB)
    command = [sys.executable, "-S", "-c", _CODE, str(mb), "1.5"]
    started = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    held.clear()
    return JSONResponse(started.wait())


app = Starlette(
    routes=[Route("/programs", programs), Route("/shared", shared), Route("/hold", hold)]
)
