"""Memory that all processes of a server share, found by its name.

    events = share("security events", 256 * KIB)     # the same pages in every worker
    with events.locked():
        events.words[0] += 1

Promises: zeros at first; whoever asks for a name again gets the same pages, also a worker that
imports the application by itself, a successor, and the supervisor. The server opens it before its
first fork (:func:`open_commons`); without one, it is the process's own from the first use on, and
shared with what that forks from then on. What is locked is unlocked when its holder dies.

Bounded: :data:`COMMONS_BYTES` in all, :data:`MOST_REGIONS` names, kept as long as the server runs.
Only pages that were written to take memory. Does not know what is in a region: whoever reads it may
find it half written, unless both lock. Locks are not reentrant: whoever holds one and locks any
region again waits for ever, so a signal handler or a finalizer must not lock.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tonnage.errors import StoreError
from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

#: All regions together, and their directory.
COMMONS_BYTES: Final = 32 * MIB
MOST_REGIONS: Final = 255

_LONGEST_NAME = 48
_ENTRY_BYTES = 64  # the name, and two words: where the region begins, and how large it is
_DIRECTORY_BYTES = (MOST_REGIONS + 1) * _ENTRY_BYTES
_WORD_BYTES = 8
_PAGE_BYTES = mmap.PAGESIZE


class Region:
    """Pages that all processes of a server see."""

    def __init__(self, commons: Commons, begin: int, size_bytes: int) -> None:
        self._commons = commons
        self._begin = begin
        #: The pages, as bytes, and as unsigned words of 8 bytes; a word is written whole.
        self.bytes: Final = commons.view[begin : begin + size_bytes]
        self.words: Final = self.bytes.cast("Q")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep out every other thread and process that locks this region.

        Not reentrant, and other threads of this process wait whichever region they lock: be quick,
        lock no other region meanwhile, and never in a signal handler or a finalizer.
        """
        with self._commons.locked(self._begin):
            yield


class Commons:
    """The shared memory of one server: a directory of regions, and the regions."""

    def __init__(self) -> None:
        #: The process that all the others come from.
        self.opened_by: Final = os.getpid()
        # A file in memory, where the system has such, since locks need a descriptor.
        if hasattr(os, "memfd_create"):
            self._fd = os.memfd_create("tonnage-commons")
        else:
            import tempfile

            with tempfile.TemporaryFile() as file:
                self._fd = os.dup(file.fileno())
        os.ftruncate(self._fd, COMMONS_BYTES)
        self._map = mmap.mmap(self._fd, COMMONS_BYTES)
        self.view: Final = memoryview(self._map)
        # The kernel's locks are between processes; this is between the threads of this one.
        self._threads = threading.Lock()
        os.register_at_fork(after_in_child=self._after_fork)

    def share(self, name: str, size_bytes: int) -> Region:
        """Return the region *name*, made if nobody has asked for it yet.

        Raises:
            StoreError: it is there in another size, or there is no room for it.
        """
        key = name.encode()[:_LONGEST_NAME]
        with self.locked(0):
            end = _DIRECTORY_BYTES
            for at in range(0, MOST_REGIONS * _ENTRY_BYTES, _ENTRY_BYTES):
                entry = self.view[at : at + _ENTRY_BYTES]
                begin, found_bytes = entry[_LONGEST_NAME:].cast("Q").tolist()
                if not begin:
                    return self._make(name, key, at, end, size_bytes)
                if entry[:_LONGEST_NAME].tobytes().rstrip(b"\0") == key:
                    if found_bytes != size_bytes:
                        raise StoreError(
                            f"{name!r} is shared with {found_bytes} bytes already, and now"
                            f" {size_bytes} are asked for: give each a name of its own, and restart"
                            " the server where its size has changed"
                        )
                    return Region(self, begin, size_bytes)
                end = begin + found_bytes
        raise StoreError(f"{name!r} cannot be shared: there are {MOST_REGIONS} such names already")

    def _make(self, name: str, key: bytes, at: int, end: int, size_bytes: int) -> Region:
        # Pages of its own, so that nobody else's are touched with it.
        begin = -(-end // _PAGE_BYTES) * _PAGE_BYTES
        if size_bytes <= 0 or size_bytes % _WORD_BYTES or begin + size_bytes > COMMONS_BYTES:
            raise StoreError(
                f"{name!r} cannot be shared with {size_bytes} bytes: whole words of 8 bytes, and"
                f" {COMMONS_BYTES - begin} bytes at most that are left"
            )
        self.view[at : at + len(key)] = key
        words = self.view[at + _LONGEST_NAME : at + _ENTRY_BYTES].cast("Q")
        # Where it begins comes last: with that, the entry counts.
        words[1] = size_bytes
        words[0] = begin
        return Region(self, begin, size_bytes)

    @contextmanager
    def locked(self, at: int) -> Iterator[None]:
        """Keep out every other thread, and every process that locks the same place."""
        with self._threads:
            fcntl.lockf(self._fd, fcntl.LOCK_EX, 1, at)
            try:
                yield
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, at)

    def _after_fork(self) -> None:
        # The thread that held it is not here.
        self._threads = threading.Lock()


_commons: Commons | None = None


def open_commons() -> Commons:
    """Return the shared memory of this server, or of this process; made when first asked for."""
    global _commons  # one for a process and all that it forks
    if _commons is None:
        _commons = Commons()
    return _commons


def use(commons: Commons | None) -> Commons | None:
    """Have *commons* be what is open here, None: nothing yet; return what was."""
    global _commons
    before, _commons = _commons, commons
    return before


def share(name: str, size_bytes: int) -> Region:
    """Return the pages called *name*, shared with all processes of this server.

    Raises:
        StoreError: they are there in another size, or there is no room for them.
    """
    return open_commons().share(name, size_bytes)
