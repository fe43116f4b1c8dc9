"""Photos for tests, and a maker of pictures that waits until it is told to go on."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path

from PIL import Image

from tonnage.images.picture import Picture


def photo(width: int = 64, height: int = 48, format: str = "JPEG") -> bytes:
    """Return a small photo."""
    written = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(written, format)
    return written.getvalue()


class Maker:
    """Makes a picture of each photo, when it may; in whichever event loop it is called.

    Attributes:
        may_go_on: set: at once.
        begun: the contents of the photos that it was called with.
        errors: what it raises instead, one for each call, while there are any.
    """

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.begun: list[bytes] = []
        self.errors: list[Exception] = []

    async def __call__(self, path: Path) -> Picture:
        """Return a picture whose content is the photo's, backwards."""
        content = path.read_bytes()  # noqa: ASYNC240  (a few hundred bytes)
        self.begun.append(content)
        while not self.may_go_on.is_set():  # noqa: ASYNC110  (of a thread)
            await asyncio.sleep(0.005)
        if self.errors:
            raise self.errors.pop(0)
        return Picture(content[::-1], "image/jpeg", 64, 48)
