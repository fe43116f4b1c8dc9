"""The kit in a real server: what it makes of a photo is made by an isolated job.

    tonnage run tests.images.kit.app:app --workers 2

A photo's width beyond 40 pixels says how long it takes, in centiseconds. ``/pid`` says which worker
answers.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from tonnage import Uploads, images, isolated
from tonnage.images.kit import PictureApp, PictureJobs


@isolated(memory="100M", timeout=20, keep_warm=5)
def small(path: str) -> images.Picture:
    """Return the photo, small, when its time is over."""
    photo = images.open(path)
    time.sleep((photo.width - 40) / 100)
    return photo.resized(max_width=32, max_height=32)


async def make(path: Path) -> images.Picture:
    """Return what an isolated job makes of the photo."""
    return await small(str(path))


_kit = PictureApp(
    PictureJobs(make, name="real", keep_bytes="4M"),
    Uploads(max_bytes="1M", types=["image/jpeg"], directory=os.environ["TONNAGE_TEST_UPLOADS"]),
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve the kit, and the process id."""
    if scope["type"] == "http" and scope["path"] == "/pid":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
        return
    await _kit(scope, receive, send)
