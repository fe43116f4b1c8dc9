"""The file in which one instance keeps what it observes, and reading those of all instances.

    with one writer at a time:  write (to NAME.new, no waiting) ... settle (fsync, rename)

Promises: the file is there whole or not at all; what is in it has reached the disk. An instance has
its file alone while it runs: the first free one of NAME.json, NAME-2.json ... up to
:data:`tonnage.ops.sizing.places.MOST_INSTANCES`. A file that cannot be understood is moved aside,
as ``.unreadable``, and never overwritten by less. Mode 0600, in a directory that is made 0700.

Writing and settling are two steps, since fsync can wait for seconds on a disk that others keep
busy, and nobody would be braked meanwhile. Some time after the first step the kernel has written
all of it by itself, and the second does not wait. A reader takes the newer of the two files, so
that a server killed between the steps loses nothing but to a power cut.

Bounded: a file that is larger than :data:`LONGEST_BYTES` is none of ours.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from tonnage.ops.sizing.places import MOST_INSTANCES, instance_path
from tonnage.ops.sizing.record import History

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_BYTES: Final = 1024 * 1024


class Book:
    """One instance's file, locked as long as this process has it."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._is_written = False

    @classmethod
    def open(cls, directory: Path, name: str) -> Self:
        """Return the first file of *name* that no other instance has.

        Raises:
            OSError: the directory cannot be made or written, or all files are taken.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(1, MOST_INSTANCES + 1):
            path = instance_path(directory, name, number)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(path.with_suffix(".lock"), flags, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                return cls(path, lock)
        raise OSError(f"{MOST_INSTANCES} instances of this application are observed already")

    def read(self) -> History | None:
        """Return what is kept; None: nothing is.

        Raises:
            ValueError: it cannot be understood.
            OSError: it cannot be read.
        """
        return read(self.path)

    def set_aside(self) -> Path:
        """Move what cannot be understood out of the way, and return where it is now.

        Raises:
            OSError: it cannot be moved.
        """
        aside = self.path.with_suffix(".unreadable")
        for path in (self.path, _written(self.path)):
            with suppress(FileNotFoundError):
                path.replace(aside)
        return aside

    def write(self, history: History) -> None:
        """Write *history* beside the file, without waiting for the disk.

        Raises:
            OSError: it cannot be written; what was kept before stays.
        """
        content = json.dumps(history.to_json(), separators=(",", ":")).encode() + b"\n"
        # A link of that name may lead anywhere; it is not followed.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        path = _written(self.path)
        self._is_written = False
        try:
            with open(os.open(path, flags, 0o600), "wb") as file:
                file.write(content)
            self._is_written = True
        except OSError:
            # Half of it would be taken for damage.
            with suppress(OSError):
                path.unlink()
            raise

    def settle(self) -> None:
        """Put what was written in the file's place, once it is on the disk. Any number of times.

        Raises:
            OSError: the disk does not take it; what was kept before stays.
        """
        if not self._is_written:
            return
        self._is_written = False
        written = _written(self.path)
        fd = os.open(written, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        written.replace(self.path)

    def close(self) -> None:
        """Let another instance have the file. Any number of times."""
        if self._lock >= 0:
            fd, self._lock = self._lock, -1
            os.close(fd)


def read(path: Path) -> History | None:
    """Return the newer of what *path* holds and what is yet to be settled; None: there is neither.

    Raises:
        ValueError: neither can be understood, though one is there.
        OSError: one cannot be read.
    """
    found, failure = [], None
    for each in (path, _written(path)):
        try:
            found.append(_parsed(each))
        except FileNotFoundError:
            continue
        except (ValueError, RecursionError) as error:
            failure = ValueError(str(error))
    if failure is not None and not found:
        raise failure
    return max(found, key=lambda history: history.written_seconds, default=None)


def read_all(directory: Path, name: str) -> Iterator[History]:
    """Yield what all instances of *name* have kept; what cannot be read is left out."""
    for number in range(1, MOST_INSTANCES + 1):
        with suppress(OSError, ValueError):
            history = read(instance_path(directory, name, number))
            if history is not None:
                yield history


def _written(path: Path) -> Path:
    return path.with_suffix(".new")


def _parsed(path: Path) -> History:
    # Not followed if it is a link, and not waited for if it is a pipe.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        with open(fd, "rb", closefd=False) as file:
            content = file.read(LONGEST_BYTES + 1)
    finally:
        # Of a directory no file object is made, which would have closed it.
        os.close(fd)
    if len(content) > LONGEST_BYTES:
        raise ValueError("it is too large")
    return History.from_json(json.loads(content))
