"""The shared page: one mapping that the supervisor and all workers read without a system call.

Layout, in 8-byte words: a header that the supervisor owns, then one slot for each worker, then
the table of learned costs. Nothing here is locked. It holds because every word has one writer:

- the header is written by the supervisor alone;
- a slot is written by its worker alone, except its PSS and USS, which the supervisor measures, and
  except when the worker is dead: then the supervisor wipes the slot;
- a row of costs may be written by any worker; a lost update there loses one observation.

The page must be made before the first fork and is inherited by it. It is bounded by construction:
:data:`MAX_WORKERS` slots and :data:`MAX_ROUTES` rows are 208 KB in all, of which only touched pages
count.
"""

from __future__ import annotations

import mmap
from typing import Final

MAX_WORKERS: Final = 64
MAX_ROUTES: Final = 1024

_WORD = 8
_HEADER_WORDS: Final = 32
_SLOT_WORDS: Final = 32

COST_NAME_BYTES: Final = 96
COST_NUMBERS: Final = 12
_COST_BYTES: Final = COST_NAME_BYTES + COST_NUMBERS * _WORD

_COSTS_AT = (_HEADER_WORDS + MAX_WORKERS * _SLOT_WORDS) * _WORD
PAGE_BYTES: Final = _COSTS_AT + MAX_ROUTES * _COST_BYTES

_UNTIL_KNOWN = 1 << 62


class _Word:
    """A named word of a section: reads and writes one aligned 8-byte integer."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __get__(self, section: _Section, owner: type[_Section]) -> int:
        return section.words[section.offset + self.index]

    def __set__(self, section: _Section, value: int) -> None:
        section.words[section.offset + self.index] = value


class _Section:
    """A run of words in the page."""

    __slots__ = ("offset", "words")

    def __init__(self, words: memoryview, offset: int) -> None:
        self.words = words
        self.offset = offset


class Header(_Section):
    """What the supervisor tells everybody."""

    __slots__ = ()

    level = _Word(0)
    used_bytes = _Word(1)
    limit_bytes = _Word(2)
    raw_bytes = _Word(3)
    cache_bytes = _Word(4)
    # What the workers' own memory may come to, in all: the ceiling less everything that is not
    # theirs (supervisor, shared pages, kernel memory, unexplained).
    workers_ceiling_bytes = _Word(5)
    ceiling_bytes = _Word(6)
    others_bytes = _Word(7)
    sampled_nanoseconds = _Word(8)
    started_nanoseconds = _Word(9)
    stopping = _Word(10)
    kernel_kills = _Word(11)
    supervisor_pss_bytes = _Word(12)
    zygote_pss_bytes = _Word(13)
    reclaims = _Word(14)
    reclaimed_bytes = _Word(15)
    desired_workers = _Word(16)
    warning_bytes = _Word(17)
    critical_bytes = _Word(18)
    exhausted_bytes = _Word(19)
    clustering = _Word(20)
    level_since_nanoseconds = _Word(21)
    blind = _Word(22)
    supervisor_pid = _Word(23)
    measured_how = _Word(25)
    slot_count = _Word(26)


class Slot(_Section):
    """What one worker says of itself; ``pid`` 0 means the slot is free."""

    __slots__ = ("index",)

    pid = _Word(0)
    state = _Word(1)
    # What this worker may come to hold: held + promised, less what it kept and can spend again.
    committed_bytes = _Word(2)
    held_bytes = _Word(3)
    promised_bytes = _Word(4)
    kept_bytes = _Word(5)
    baseline_bytes = _Word(6)
    in_flight = _Word(7)
    waiting = _Word(8)
    requests = _Word(9)
    refused = _Word(10)
    waited = _Word(11)
    heartbeat_nanoseconds = _Word(12)
    started_nanoseconds = _Word(13)
    # Since when the first of its large requests waits for room; 0: none does.
    head_nanoseconds = _Word(14)
    connections = _Word(15)
    # What the registered consumers (caches, buffers) say they hold.
    consumers_bytes = _Word(16)
    # Number of the in-flight entry whose step is running, plus one; 0: none, or not measured.
    running = _Word(17)
    memory_errors = _Word(18)
    # Written by the supervisor.
    pss_bytes = _Word(24)
    uss_bytes = _Word(25)
    # What was private when these were measured: what came since is known without measuring.
    rolled_up_private_bytes = _Word(26)
    # The fuse: RLIMIT_DATA; 0: none is set.
    data_limit_bytes = _Word(27)

    def __init__(self, words: memoryview, offset: int, index: int) -> None:
        super().__init__(words, offset)
        self.index = index

    def wipe(self) -> None:
        """Forget the worker: for the supervisor, once the worker is dead."""
        for index in range(_SLOT_WORDS):
            self.words[self.offset + index] = 0


class SharedPage:
    """The mapping and its sections."""

    def __init__(self, slots: int = MAX_WORKERS) -> None:
        """Map the page with room for *slots* workers, at most :data:`MAX_WORKERS`."""
        self._map = mmap.mmap(-1, PAGE_BYTES)
        everything = memoryview(self._map)
        self.words: memoryview = everything[:_COSTS_AT].cast("q")
        self.header = Header(self.words, 0)
        self._slots = tuple(
            Slot(self.words, _HEADER_WORDS + index * _SLOT_WORDS, index)
            for index in range(MAX_WORKERS)
        )
        self._costs = everything[_COSTS_AT:]
        # Until the first sample is in, nothing is known and nothing is held back.
        self.header.workers_ceiling_bytes = _UNTIL_KNOWN
        self.use_slots(slots)
        self._committed_indexes = tuple(
            slot.offset + Slot.__dict__["committed_bytes"].index for slot in self._slots
        )

    def use_slots(self, count: int) -> None:
        """Use *count* slots from now on, in every process, so that a sum reads no others.

        To be called before there are workers.
        """
        self.header.slot_count = min(count, MAX_WORKERS)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The slots in use, of workers or free."""
        return self._slots[: self.header.slot_count]

    def committed_bytes(self) -> int:
        """Return what all workers together may come to hold."""
        words = self.words
        return sum([words[index] for index in self._committed_indexes[: self.header.slot_count]])

    def live_slots(self) -> list[Slot]:
        """Return the slots that belong to a worker."""
        return [slot for slot in self.slots if slot.pid]

    def cost_names(self, row: int) -> memoryview:
        """Return the bytes of the name of cost *row*."""
        start = row * _COST_BYTES
        return self._costs[start : start + COST_NAME_BYTES]

    def cost_numbers(self, row: int) -> memoryview[float]:
        """Return the numbers of cost *row*, as doubles."""
        start = row * _COST_BYTES + COST_NAME_BYTES
        return self._costs[start : start + COST_NUMBERS * _WORD].cast("d")
