"""Pictures made smaller without standing in anybody's way: ``images.resize``.

    picture = await images.resize(upload, max_width=800, max_height=800)     # in an event loop
    picture = images.resize.wait(upload, max_width=800, max_height=800)      # in a thread

Promises: what it takes at its peak is kept free for it before it begins, and is kept until the
thread has ended, also where nobody waits for it any more. The event loop goes on meanwhile. If the
memory does not come free in time, it raises MemoryShortError, which is answered with 503.

It runs in a thread and not in a process of its own: decoders let go of Python's lock, and what they
took comes back, since nothing of it is a Python object. Under ``tonnage run`` the allocator's
settings see to that; elsewhere glibc keeps what was freed (measured: 36 MB became 539), so that it
is told to give it back after each large picture.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Final, TypeVar

from tonnage.governor.reservations import reserved
from tonnage.host.malloc import Heap
from tonnage.images.arguments import Rendition, asked
from tonnage.images.limits import Limits
from tonnage.images.photo import Photo, open_photo
from tonnage.images.picture import Picture
from tonnage.images.source import Source
from tonnage.stores.background import check_thread, is_served
from tonnage.units import MIB

R = TypeVar("R")

#: From here on, what was taken is handed back at once, which takes some milliseconds.
LARGE_BYTES: Final = 16 * MIB


class Resize:
    """What ``images.resize`` is: called in an event loop, or with ``wait`` in a thread."""

    async def __call__(
        self,
        source: Source | Photo,
        max_width: int | None = 800,
        max_height: int | None = 800,
        *,
        quality: int = 85,
        format: str | None = None,
        background: str = "white",
        limits: Limits | None = None,
    ) -> Picture:
        """Return the picture in *source*, decoded and encoded anew.

        Args:
            source: bytes, a path, a binary file, a file of ``Uploads``, or an opened photo.
            max_width: pixels at most; None: as many as it has. It is never made larger.
            max_height: the same.
            quality: 1 to 95, of JPEG and WebP.
            format: JPEG, PNG or WEBP; None: PNG where something is transparent, else JPEG.
            background: the colour behind what is transparent, where the format has no alpha.
            limits: what is taken; None: ``Limits()``.

        Raises:
            ImageRefusedError: it is no picture, is damaged, or would become too large.
            MemoryShortError: the memory for it did not come free in time.
            ConfigError: an argument makes no sense; said before anything is read.
        """
        wanted = asked(max_width, max_height, quality=quality, format=format, background=background)
        photo = await _in_thread(partial(_opened, source, limits))
        memory_bytes = _memory_bytes(photo, wanted)
        async with reserved(memory_bytes):
            return await _in_thread(partial(_made, photo, wanted, memory_bytes))

    def wait(
        self,
        source: Source | Photo,
        max_width: int | None = 800,
        max_height: int | None = 800,
        *,
        quality: int = 85,
        format: str | None = None,
        background: str = "white",
        limits: Limits | None = None,
    ) -> Picture:
        """Do the same, in the thread that calls: of Flask, Django or a script.

        Raises:
            RuntimeError: an event loop runs in this thread, which would be held up.
        """
        check_thread("images.resize.wait()", "await images.resize()")
        wanted = asked(max_width, max_height, quality=quality, format=format, background=background)
        photo = _opened(source, limits)
        memory_bytes = _memory_bytes(photo, wanted)
        with reserved(memory_bytes):
            return _made(photo, wanted, memory_bytes)

    def __repr__(self) -> str:
        return "<images.resize>"


resize: Final = Resize()


def _opened(source: Source | Photo, limits: Limits | None) -> Photo:
    return source if isinstance(source, Photo) else open_photo(source, limits=limits)


def _memory_bytes(photo: Photo, wanted: Rendition) -> int:
    return photo.memory_for(wanted.max_width, wanted.max_height, format=wanted.format)


def _made(photo: Photo, wanted: Rendition, memory_bytes: int) -> Picture:
    """Return what *photo* becomes, with none of the *memory_bytes* kept by the allocator."""
    try:
        return photo.made_into(wanted)
    finally:
        is_tuned = is_served() or "MALLOC_MMAP_THRESHOLD_" in os.environ
        if memory_bytes >= LARGE_BYTES and not is_tuned:
            Heap().trim()


async def _in_thread(work: Callable[[], R]) -> R:
    """Return what *work* returns, and never before, however often this is cancelled.

    A thread cannot be ended; scopes of anyio cancel again and again, until the task has ended.
    """
    # As asyncio.to_thread() does, but for its task: that is cancelled too when a loop is closed.
    run = partial(copy_context().run, work)
    running = asyncio.get_running_loop().run_in_executor(None, run)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Nobody asks any more, and nothing is to be said about that.
        running.exception()
        raise cancelled
    return running.result()
