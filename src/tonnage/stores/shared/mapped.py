"""What this process has mapped of the shared levels' files, and letting go of it.

    mapped.join(store)                   # a Holder, once LMDB has mapped its file
    mapped.note_read(2000)               # whenever something was read there

LMDB reads a file through a map of it. Pages that were read count as memory of whoever has them
mapped, and the kernel does not take them back like other file cache: a level that is larger than
the limit would stop the service for good. So a process lets go of what it has mapped beyond
:data:`MOST_MAPPED_BYTES`, of all levels together, and of everything when memory is short.

Nothing is lost with that. The map is only read, and what is written goes to the file with
``pwrite``: its pages stay in the file cache, also those that have not reached the disk yet, and are
mapped again where they are read again, 64 KB at a time, in some microseconds. So any thread may
read meanwhile, and no lock is needed.

Overrun by what is read between two looks at what is mapped, :data:`LOOK_BYTES`, and by one value.
Does nothing where there is no ``/proc``, or no ``madvise``.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from tonnage.governor.consumers import register
from tonnage.host.processes import PAGE_BYTES, Statm
from tonnage.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What a process has mapped of all levels at most.
MOST_MAPPED_BYTES: Final = 8 * MIB
#: It looks at how much that is once it may be so much more. A look takes 2 microseconds.
LOOK_BYTES: Final = 2 * MIB
#: Reading one value maps so much, and the value: three pages, each with its neighbours.
READ_BYTES: Final = 192 * KIB

_MADV_DONTNEED: Final = 4
_MAPS: Final = Path("/proc/self/maps")


class Holder(Protocol):
    """Whoever has a file mapped; as long as it lives, so has this process."""

    size_bytes: int

    @property
    def maps(self) -> Sequence[tuple[int, int]]:
        """Where that is: the first address, and how many bytes follow."""


def find_maps(path: Path) -> list[tuple[int, int]]:
    """Return where this process has the file of *path* mapped, to be read only."""
    found = path.stat()
    try:
        lines = _MAPS.read_text(errors="replace").splitlines()
    except OSError:
        return []
    maps = []
    for line in lines:
        addresses, rights, _, device, inode, *_ = line.split(maxsplit=5)
        # Of what may be written there, nothing must be let go.
        if inode == str(found.st_ino) and device == _device(found.st_dev) and rights == "r--s":
            first, end = (int(each, 16) for each in addresses.split("-"))
            maps.append((first, end - first))
    return maps


class Mapped:
    """A consumer of memory: what the levels of this process have mapped."""

    name = "shared levels' maps"
    max_bytes = MOST_MAPPED_BYTES

    def __init__(self) -> None:
        # Replaced and never changed, so that reading it needs no lock.
        self._holders: tuple[weakref.ref[Holder], ...] = ()
        self._statm: Statm | None = None
        # What may have been mapped since the last look, and file pages that there were before.
        self._unseen_bytes = 0
        self._before_bytes: int | None = None
        self._madvise: Any = None

    def join(self, holder: Holder) -> None:
        """Have *holder* take part; it is held weakly. One at a time may join."""
        living = self._living()
        if not living:
            # What was mapped so far are libraries.
            self._before_bytes = self._file_bytes()
        self._holders = tuple(map(weakref.ref, (*living, holder)))

    def note_read(self, value_bytes: int) -> None:
        """Note that a value of so many bytes was read, or written; let go if that is too much."""
        self._unseen_bytes += READ_BYTES + value_bytes
        if self._before_bytes is None or self._unseen_bytes >= LOOK_BYTES:
            self._unseen_bytes = 0
            if self.used_bytes > MOST_MAPPED_BYTES:
                self.shrink(0)

    @property
    def used_bytes(self) -> int:
        """What is mapped: by how much this process's file pages have grown since it let go."""
        now_bytes = self._file_bytes()
        if self._before_bytes is None:
            self._before_bytes = now_bytes
        most_bytes = sum(each.size_bytes for each in self._living())
        return min(max(0, now_bytes - self._before_bytes), most_bytes)

    def shrink(self, target_bytes: int) -> int:
        """Let go of everything, if it is more than *target_bytes*; return the bytes."""
        used_bytes = self.used_bytes
        if used_bytes <= target_bytes:
            return 0
        # A holder that lives has its map.
        for holder in self._living():
            for first, size_bytes in holder.maps:
                self._let_go(first, size_bytes)
        self._before_bytes = self._file_bytes()
        return used_bytes

    def after_fork(self) -> None:
        """Begin as a child: what its parent has mapped, it has not."""
        if self._statm is not None:
            self._statm.close()
        self.__init__()  # type: ignore[misc]

    def _living(self) -> list[Holder]:
        return [holder for each in self._holders if (holder := each()) is not None]

    def _file_bytes(self) -> int:
        """Return what this process has mapped of all files, its libraries included."""
        try:
            if self._statm is None:
                self._statm = Statm()
            return self._statm.pages()[1] * PAGE_BYTES
        except OSError:
            return 0

    def _let_go(self, first: int, size_bytes: int) -> None:
        if self._madvise is None:
            # Only here: not every server has loaded it.
            import ctypes

            self._madvise = ctypes.CDLL(None).madvise
            self._madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._madvise(first, size_bytes, _MADV_DONTNEED)


def _device(number: int) -> str:
    return f"{os.major(number):02x}:{os.minor(number):02x}"


mapped: Final = Mapped()
# The lowest priority: whoever gives this back loses nothing.
_registration: Final = register(mapped, 0)
os.register_at_fork(after_in_child=mapped.after_fork)
