"""What work with pictures takes at its peak: measured in processes of their own.

    with Peaks() as peaks:                       # one process with everything imported
        found = peaks.of("resized", path, 800, 800, None)

Each measurement is a fork of it that does one thing; what the kernel has seen as the most memory
(``VmHWM``), less what was there before, is the peak. What is imported, and what the allocator keeps
of the imports, does not count.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from PIL import Image
from tests.images import corpus

ANYTHING = {
    "jpeg_pixels": 10**9,
    "progressive_pixels": 10**9,
    "png_pixels": 10**9,
    "webp_pixels": 10**9,
    "gif_pixels": 10**9,
    "memory_bytes": 2**40,
}


#: The status where there was a MemoryError.
NO_MEMORY = 0


@dataclass(frozen=True)
class Peak:
    """What was measured, and what was said before."""

    predicted_bytes: int
    peak_bytes: int
    #: Of the refusal; 200: there was none.
    status: int


class Peaks:
    """The process, and how to ask it."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.images.peak"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # As in a worker of `tonnage run`; glibc would keep what it freed otherwise.
            env={
                **os.environ,
                "PYTHONPATH": ":".join(sys.path),
                "MALLOC_MMAP_THRESHOLD_": "1048576",
            },
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def ask(self, work: str, *given: Any) -> Any:
        """Have *work* done in a fork, and return what it says."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([work, *given]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def make(self, path: Path, kind: str, *given: Any) -> Path:
        """Have a large picture written to *path*."""
        assert self.ask("make", str(path), kind, *given) is None
        return path

    def of(self, path: Path, side: int | None = 800, **more: Any) -> Peak:
        """Return what ``resized`` takes of the picture at *path*, to *side* pixels at most."""
        return Peak(*self.ask("resized", str(path), side, more))


def _make(path: str, kind: str, mode: str, width: int, height: int, options: Any) -> None:
    image = corpus.noise(width, height) if mode == "noise" else corpus.picture(mode, width, height)
    if options.pop("frames", 1) > 1:
        turned = image.transpose(Image.Transpose.ROTATE_180)
        options |= {"save_all": True, "append_images": [turned, image]}
    image.save(path, kind, **options)


def _resized(path: str, side: int | None, more: dict[str, Any]) -> tuple[int, int, int]:
    from tonnage import images
    from tonnage.errors import ImageRefusedError

    room_bytes = more.pop("room_bytes", None)
    if room_bytes is not None:
        most_bytes = _status("VmData") + room_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
    limits = images.Limits(**ANYTHING) if more.pop("anything", True) else None
    before = _status("VmRSS")
    predicted, status = 0, 200
    try:
        photo = images.open(path, limits=limits)
        predicted = photo.memory_for(side, side, format=more.get("format"))
        photo.resized(side, side, **more)
    except ImageRefusedError as error:
        status = error.problem.status
    except MemoryError:
        status = NO_MEMORY
    return predicted, _status("VmHWM") - before, status


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))


_WORK: dict[str, Callable[..., object]] = {"make": _make, "resized": _resized}


def _serve() -> None:
    from PIL import ImageCms

    from tonnage import images

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        options: dict[str, Any] = {} if kind == "GIF" else {"icc_profile": profile}
        images.open(corpus.plain(kind, **options)).resized(10, 10)
    for line in sys.stdin:
        work, *given = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            # The peak begins anew.
            Path("/proc/self/clear_refs").write_text("5")
            try:
                found = _WORK[work](*given)
                os.write(writing, json.dumps(found).encode() + b"\n")
            except BaseException:  # noqa: BLE001  (the fork is not to go on serving)
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.close(writing)
        with open(reading) as answers:
            print(answers.readline().strip() or '"failed"', flush=True)
        os.waitpid(child, 0)


if __name__ == "__main__":
    _serve()
