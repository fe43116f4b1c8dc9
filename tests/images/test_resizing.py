"""``images.resize``: the memory that is asked for, threads, and clients that go away."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from tests.images import corpus

from tonnage import images
from tonnage.errors import ImageRefusedError, MemoryShortError
from tonnage.governor import reservations
from tonnage.governor.reservations import reserved
from tonnage.problem import Problem
from tonnage.units import MIB


class Ledger:
    """Grants what it is asked for, up to a ceiling, and remembers it."""

    def __init__(self, ceiling_bytes: float = float("inf")) -> None:
        self.ceiling_bytes = ceiling_bytes
        self.asked: list[int] = []
        self.held_bytes = 0

    async def enter(self, wanted: reserved) -> None:
        """Grant it."""
        self.enter_in_thread(wanted)

    def enter_in_thread(self, wanted: reserved) -> None:
        """Grant it."""
        self.asked.append(wanted.size_bytes)
        if wanted.size_bytes > self.ceiling_bytes:
            raise MemoryShortError(Problem(503, "memory_short", "there is none"))
        self.held_bytes += wanted.size_bytes

    def leave(self, wanted: reserved) -> None:
        """Take it back."""
        self.held_bytes -= wanted.size_bytes

    def taken(self, size_bytes: int) -> None:
        """Nothing counts here."""


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """Give a ledger that this process asks."""
    made = Ledger()
    reservations.use(made)
    yield made
    reservations.use(None)


async def test_exactly_what_is_predicted_is_reserved(ledger: Ledger) -> None:
    """By both ways, and given back."""
    data = corpus.plain("JPEG", 1200, 900)
    photo = images.open(data)
    picture = await images.resize(data)
    assert (picture.width, picture.height) == (800, 600)
    assert (await images.resize(photo, max_width=100)).width == 100
    waited = await asyncio.to_thread(images.resize.wait, data, 300, 300, format="webp")
    assert waited.media_type == "image/webp"
    assert ledger.asked == [
        photo.memory_bytes,
        photo.memory_for(100, 800),
        photo.memory_for(300, 300, format="WEBP"),
    ]
    assert ledger.held_bytes == 0


async def test_what_does_not_fit_is_not_begun(ledger: Ledger) -> None:
    """It is refused with 503."""
    ledger.ceiling_bytes = 1000
    for _ in range(2):
        with pytest.raises(MemoryShortError):
            await images.resize(corpus.plain("JPEG"))
    with pytest.raises(MemoryShortError):
        await asyncio.to_thread(images.resize.wait, corpus.plain("JPEG"))


async def test_a_refused_picture_asks_for_nothing(ledger: Ledger) -> None:
    """It is refused before."""
    with pytest.raises(ImageRefusedError):
        await images.resize(corpus.png_bomb())
    limits = images.Limits(png_pixels=100)
    with pytest.raises(ImageRefusedError):
        await asyncio.to_thread(images.resize.wait, corpus.plain("PNG"), limits=limits)
    assert ledger.asked == []


async def test_what_a_damaged_picture_held_is_given_back(ledger: Ledger) -> None:
    """When it is found out."""
    data = bytearray(corpus.encoded(corpus.noise(300, 300), "PNG"))
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    with pytest.raises(ImageRefusedError):
        await images.resize(bytes(data))
    assert len(ledger.asked) == 1
    assert ledger.held_bytes == 0


class Gated(io.BytesIO):
    """A file that lets itself be read to its end only when the gate is open."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reached = threading.Event()
        self.gate = threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        """Wait, if it is the decoder that reads."""
        if self.tell() > 5_000:
            self.reached.set()
            assert self.gate.wait(10)
        return super().read(size)


def gated() -> tuple[Gated, images.Photo]:
    """Return such a file, and a photo that is open and will be decoded from it."""
    file = Gated(corpus.encoded(corpus.noise(600, 600), "JPEG"))
    photo = images.open(file.getvalue())
    photo.source = file
    return file, photo


async def test_memory_is_kept_until_the_thread_has_ended_though_nobody_waits(
    ledger: Ledger,
) -> None:
    """A thread cannot be ended."""
    file, photo = gated()
    resizing = asyncio.ensure_future(images.resize(photo))
    await asyncio.to_thread(file.reached.wait, 10)
    resizing.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not resizing.done()
    assert ledger.held_bytes == photo.memory_bytes
    file.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await resizing
    assert ledger.held_bytes == 0


async def test_memory_is_kept_however_often_the_wait_is_ended(ledger: Ledger) -> None:
    """As scopes of anyio do: again and again, until the task has ended."""
    file, photo = gated()
    held: list[int] = []

    async def look() -> None:
        await asyncio.to_thread(file.reached.wait, 10)
        scope.cancel()
        await asyncio.sleep(0.05)
        held.append(ledger.held_bytes)
        file.gate.set()

    looking = asyncio.ensure_future(look())
    with anyio.CancelScope() as scope:
        await images.resize(photo)
    await looking
    assert scope.cancelled_caught
    assert held == [photo.memory_bytes]
    assert ledger.held_bytes == 0


async def test_the_event_loop_goes_on_meanwhile() -> None:
    """Others get theirs."""
    file, photo = gated()
    resizing = asyncio.ensure_future(images.resize(photo))
    await asyncio.to_thread(file.reached.wait, 10)
    assert (await images.resize(corpus.plain("PNG"))).width == 64
    file.gate.set()
    assert (await resizing).width == 600


async def test_a_file_of_uploads_is_a_source(tmp_path: Path) -> None:
    """As long as its request lasts."""
    from tonnage.web.path.uploads.files import UploadedFile
    from tonnage.web.path.uploads.spoolfile import SpoolFile

    spool = SpoolFile(tmp_path, flush_bytes=2**20)
    spool.write(memoryview(corpus.plain("PNG")))
    sent = UploadedFile(
        spool, field="", name="a.png", type="image/png", declared_name="a", declared_type=None
    )
    photo = images.open(sent)
    assert (await images.resize(sent)).width == photo.decode().width == 64
    sent.close()
    with pytest.raises(ValueError, match="this upload is over"):
        images.open(sent)


GIVES_BACK = """
import asyncio, sys
from pathlib import Path
from tonnage import images

def held_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

async def main():
    await images.resize(sys.argv[1])
    before = held_mb()
    for _ in range(3):
        await asyncio.gather(*(images.resize(sys.argv[1]) for _ in range(4)))
    print(held_mb() - before)

asyncio.run(main())
"""


@pytest.mark.real
def test_memory_comes_back_under_other_servers_too(tmp_path: Path) -> None:
    """Where nobody has set up the allocator."""
    path = tmp_path / "photo.jpg"
    noise = corpus.noise(2400, 2000)
    path.write_bytes(corpus.encoded(noise, "JPEG", progressive=True, subsampling="4:4:4"))
    usual = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    said = subprocess.run(
        [sys.executable, "-c", GIVES_BACK, str(path)],
        env={**usual, "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        check=True,
    )
    # Where it does not, 135 to 167 MB stay.
    assert float(said.stdout) < 40
    assert images.open(path).memory_bytes > 30 * MIB
