"""Directories on real disks: a spool refuses to lie in memory, as ``/tmp`` does in many places."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tonnage.host.filesystems import in_memory_as


@contextmanager
def on_a_disk(directory: Path) -> Iterator[Path]:
    """Yield *directory*, or one beside this file where that is in memory."""
    if in_memory_as(directory) is None:
        yield directory
        return
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix=".disk-") as other:
        yield Path(other)


@contextmanager
def small_disk(size_bytes: int) -> Iterator[Path]:
    """Yield a directory on an ext4 file system of its own, of *size_bytes*.

    Raises:
        OSError: none can be mounted here; root can, where there are loop devices.
    """
    with tempfile.TemporaryDirectory(prefix="tonnage-disk-") as directory:
        image, point = Path(directory, "image"), Path(directory, "disk")
        point.mkdir()
        with image.open("wb") as file:
            file.truncate(size_bytes)
        _run("mkfs.ext4", "-q", "-m", "0", str(image))
        _run("mount", "-o", "loop", str(image), str(point))
        try:
            yield point
        finally:
            _run("umount", str(point))


def need_small_disk(size_bytes: int, stack: ExitStack) -> Path:
    """Return a directory on a disk of its own; skip the test where none can be mounted.

    Under CI too: root in a container may have everything but loop devices.
    """
    try:
        return stack.enter_context(small_disk(size_bytes))
    except OSError as error:
        pytest.skip(f"needs a disk of its own, which root can mount: {error}")


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        raise OSError(f"{command[0]}: {error.stderr.decode().strip()}") from error
