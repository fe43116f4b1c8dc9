"""What the uploads of a process are doing and have done; any thread may count."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tonnage.web.path.uploads.errors import UploadError


@dataclass(frozen=True, slots=True)
class UploadStatistics:
    """What the uploads of this process are doing, and have done since it started."""

    receiving: int
    """Turns that are taken: bodies that come in, and files that are worked on."""
    waiting: int
    received_files: int
    received_bytes: int
    refused: int
    """Refused for whatever reason, clients that went away included."""


class Counts:
    """The figures behind :class:`UploadStatistics`."""

    def __init__(self) -> None:
        # The garbage collector ends what nobody has ended, also where this is held.
        self._lock = threading.RLock()
        self._receiving = self._files = self._bytes = self._refused = 0

    def began(self) -> None:
        """An upload has begun: it has its turn."""
        with self._lock:
            self._receiving += 1

    def ended(self) -> None:
        """An upload has ended; its turn is free."""
        with self._lock:
            self._receiving -= 1

    def received(self, files: int, size_bytes: int) -> None:
        """A body of *size_bytes* has come, with this many *files*."""
        with self._lock:
            self._files += files
            self._bytes += size_bytes

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Count a refusal that leaves the block."""
        try:
            yield
        except UploadError:
            with self._lock:
                self._refused += 1
            raise

    def statistics(self, waiting: int) -> UploadStatistics:
        """Return the figures, of *waiting* requests in the queue."""
        with self._lock:
            return UploadStatistics(
                self._receiving, waiting, self._files, self._bytes, self._refused
            )
