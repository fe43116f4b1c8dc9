"""The application of ``images`` and ``photos``: a photo is posted, its cut-out on white comes back.

``WAY`` says how: ``rembg`` in the worker itself, in one thread; ``subprocess``: rembg in a process
of its own for each photo (:mod:`benchmarks.cutting`), one at a time; ``tonnage``: as a Tonnage
application has it, one job at a time by default. All answer a JPEG of at most 800 x 800.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

from fastapi import FastAPI, Request, Response

WAY = os.environ.get("WAY", "tonnage")
SIDE = 800
QUALITY = 85

app = FastAPI()
_one_at_a_time = asyncio.Semaphore(1)

if WAY == "rembg":
    from benchmarks.cutting import cut_with_rembg
elif WAY == "tonnage":
    from tonnage import images


@app.get("/")
async def root() -> dict[str, str]:
    """Do next to nothing."""
    return {"hello": "world"}


@app.get("/rows")
async def rows() -> list[dict[str, object]]:
    """Answer some 10 KB, as a list of a shop's does."""
    return [{"id": number, "name": f"item {number}", "price": number / 4} for number in range(200)]


@app.post("/cutout")
async def cutout(request: Request, keep_warm: float = 60.0) -> Response:
    """Cut out what the posted photo shows; ``X-Seconds`` is how long that took."""
    photo = await request.body()
    began = time.perf_counter()
    content = await _cut(photo, keep_warm)
    seconds = time.perf_counter() - began
    return Response(content, media_type="image/jpeg", headers={"X-Seconds": f"{seconds:.4f}"})


async def _cut(photo: bytes, keep_warm: float) -> bytes:
    if WAY == "tonnage":
        picture = await images.remove_background(
            photo,
            background="white",
            max_width=SIDE,
            max_height=SIDE,
            quality=QUALITY,
            keep_warm=keep_warm,
        )
        return picture.content
    async with _one_at_a_time:
        return await asyncio.to_thread(cut_with_rembg if WAY == "rembg" else _in_subprocess, photo)


def _in_subprocess(photo: bytes) -> bytes:
    command = [sys.executable, "-m", "benchmarks.cutting"]
    return subprocess.run(command, input=photo, stdout=subprocess.PIPE, check=True).stdout
