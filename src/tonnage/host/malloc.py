"""The C allocator: how it is set before the start, what it keeps, how it gives back.

Covers:
- the environment that must stand before exec (:func:`allocator_environment`), since glibc reads it
  once, at start;
- what the allocator holds freed but kept (:class:`Heap`), and handing it back.

Why these settings. 8 MB requests at the limit of 512 MB, 128 clients, ``tonnage run`` with one
worker and with two, on two cores; what is held when the load ends, of 60 MB before:

========  =============  =============  ============  =========================================
policy    1 worker, /s   2 workers, /s  held at end   what it sets
========  =============  =============  ============  =========================================
huge      149            154            60 to 70 MB   mmap from 1 MB on, huge pages for blocks
mmap      139            153            56 to 66 MB   mmap from 128 KB on
default   136            113            371, 441 MB   nothing but two arenas; trimmed when idle
========  =============  =============  ============  =========================================

glibc's defaults raise the threshold for mmap as blocks are freed and keep these in the heap, where
they are hard to account for: of the runs with ``default`` one met the kernel's limit. On musl all
of this does nothing, and :func:`allocator_kind` says so.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_ARENAS = {"MALLOC_ARENA_MAX": "2"}
_HUGE = {
    **_ARENAS,
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
_MMAP = {**_ARENAS, "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
# BLAS libraries start a thread for each core of the host, and each takes memory of its own.
_BLAS = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)
_THP = "sys/kernel/mm/transparent_hugepage/enabled"


def allocator_kind(root: Path = Path("/")) -> str:
    """Return what ``auto`` means here: ``huge``, ``mmap`` (no huge pages), ``none`` (no glibc).

    ``huge`` needs glibc 2.35 and huge pages at ``madvise`` or ``always``.
    """
    name, version = platform.libc_ver()
    if not sys.platform.startswith("linux") or name != "glibc":
        return "none"
    try:
        chosen = (root / _THP).read_text()
    except OSError:
        return "mmap"
    recent = tuple(int(part) for part in version.split(".")[:2]) >= (2, 35)
    return "huge" if recent and "[never]" not in chosen else "mmap"


def allocator_environment(policy: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to set before exec for *policy*; what the user has set stays as it is.

    Args:
        policy: ``auto``, ``huge``, ``mmap`` or ``default``.
        environ: the environment as it is.
    """
    kind = allocator_kind() if policy == "auto" else policy
    wanted = {"huge": _HUGE, "mmap": _MMAP, "default": _ARENAS}.get(kind, {})
    return {name: value for name, value in (wanted | _BLAS).items() if name not in environ}


# What counting may take: of all time, of any moment, and what of that can be saved up. A request
# that fills what another has left in the heap shows in the count alone, so there has to be one
# after each step that lasts: with 10,000 holes one takes 0.1 to 0.3 ms.
_COUNTING_SHARE = 0.02
_MOST_COUNTING_SHARE = 0.05
_SAVED_SECONDS = 0.002
# ... but for these: while a request that ran out of memory lets go of it, and as the next begins.
_DUE_COUNTS = 8


class _MallInfo2(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


class Heap:
    """This process's C heap. On systems without glibc it keeps nothing and trims nothing."""

    def __init__(self) -> None:
        # What malloc_trim gave back stays in glibc's count of free bytes; it is room no more.
        self._given_back_bytes = 0
        self._free_bytes = 0
        self._asked_seconds = self._counted_seconds = time.perf_counter()
        self._budget_seconds = _SAVED_SECONDS
        # Counts that are made whatever they take.
        self._due_counts = 0
        # What a count takes: the less of the last two, as in one this process may have had to wait.
        self._cost_seconds = self._last_cost_seconds = 0.0
        self._info: Any = None
        self._trim: Any = None
        try:
            library = ctypes.CDLL(None)
            self._info = library.mallinfo2
            self._info.restype = _MallInfo2
            self._trim = library.malloc_trim
        except (OSError, AttributeError):
            return

    def kept_bytes(self) -> int:
        """Return the bytes that were freed but are still held: they can be spent without growing.

        The answer may be old, as that of :meth:`free_bytes`.
        """
        return self.free_bytes() - self._given_back_bytes

    def free_bytes(self) -> int:
        """Return the bytes of the heap that nothing is in, those whose pages were handed back too.

        These are still the process's data: what is in use is the data less this.

        The answer may be old: glibc walks all free blocks to count them (1 us in a tidy heap, 335
        us with 10,000 holes), and this is held to :data:`_COUNTING_SHARE` of the time.
        """
        if self._info is not None and self._may_count(time.perf_counter()):
            self._free_bytes = int(self._info().fordblks)
            cost = time.perf_counter() - self._asked_seconds
            self._cost_seconds = min(cost, self._last_cost_seconds or cost)
            self._last_cost_seconds = cost
            self._budget_seconds -= self._cost_seconds
            self._counted_seconds = self._asked_seconds + self._cost_seconds
            self._given_back_bytes = min(self._given_back_bytes, self._free_bytes)
        return self._free_bytes

    def distrust(self) -> None:
        """Have the next answers be of now, whatever that takes: much is being freed."""
        self._due_counts = _DUE_COUNTS

    def _may_count(self, now_seconds: float) -> bool:
        cost, since = self._cost_seconds, now_seconds - self._counted_seconds
        saved = self._budget_seconds + (now_seconds - self._asked_seconds) * _COUNTING_SHARE
        self._budget_seconds = min(saved, max(_SAVED_SECONDS, cost))
        self._asked_seconds = now_seconds
        if self._due_counts:
            self._due_counts -= 1
            return True
        return self._budget_seconds >= cost and since * _MOST_COUNTING_SHARE >= cost

    def trim(self) -> None:
        """Hand free pages back to the system. Takes some 20 ms for 100 MB, under malloc's locks."""
        if self._trim is None or self._info is None:
            return
        self._trim(0)
        self._free_bytes = self._given_back_bytes = int(self._info().fordblks)
