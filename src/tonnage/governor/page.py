"""The shared page: one mapping that the supervisor and all workers read without a system call.

Layout, in 8-byte words: a header that the supervisor owns, then one slot for each worker, then
the table of learned costs, then for each slot the requests in flight. Nothing here is locked. It
holds because a word has one writer:

- the header, the supervisor;
- a slot and its flights, their worker; but what the supervisor measures (PSS, USS, and what was
  private then), the supervisor, who also wipes the slot of a worker that is dead.

With two exceptions:

- a slot's ``data_limit_bytes`` is written by both: the supervisor moves the fuse, and the worker
  sets its first, raises it and lifts it. Each limits the process before it writes; what may cross
  is settled by the supervisor (:mod:`tonnage.server.fuses`);
- a row of costs may be written by any worker; a lost update there loses one observation.

The page must be made before the first fork and is inherited by it. It is bounded by construction:
:data:`MAX_WORKERS` slots, :data:`MAX_ROUTES` rows and :data:`FLIGHT_ENTRIES` flights a slot are
537 KB in all, of which only touched pages count.
"""

from __future__ import annotations

import mmap
from typing import Final

MAX_WORKERS: Final = 64
MAX_ROUTES: Final = 1024

_WORD = 8
_HEADER_WORDS: Final = 64
_SLOT_WORDS: Final = 32

#: How many causes of death have a count in the header.
DEATH_CAUSES: Final = 9
_DEATHS_AT: Final = 44

COST_NAME_BYTES: Final = 96
COST_NUMBERS: Final = 13
#: Of these, the one that leads from a path's row to that of its template: the row plus one, or 0.
_TEMPLATE_ROW: Final = 12
_COST_BYTES: Final = COST_NAME_BYTES + COST_NUMBERS * _WORD

_COSTS_AT = (_HEADER_WORDS + MAX_WORKERS * _SLOT_WORDS) * _WORD

# What is in flight: one word, then the entries; the layout is that of tonnage.governor.flight.
FLIGHT_ENTRIES: Final = 64
FLIGHT_CLIENT_BYTES: Final = 48
FLIGHT_ENTRY_BYTES: Final = 4 * _WORD + FLIGHT_CLIENT_BYTES
_FLIGHT_BYTES: Final = _WORD + FLIGHT_ENTRIES * FLIGHT_ENTRY_BYTES

_FLIGHTS_AT = _COSTS_AT + MAX_ROUTES * _COST_BYTES
PAGE_BYTES: Final = _FLIGHTS_AT + MAX_WORKERS * _FLIGHT_BYTES

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
    # What workers had of their own when that was read: both are of one moment.
    workers_own_bytes = _Word(54)
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
    level_since_nanoseconds = _Word(20)
    blind = _Word(21)
    supervisor_pid = _Word(22)
    # As the server was started; there are fewer desired where that has not worked out.
    planned_workers = _Word(23)
    measured_how = _Word(24)
    slot_count = _Word(25)
    recycles = _Word(26)
    recycled_bytes = _Word(27)
    # Isolated jobs: what their processes may come to hold, what they hold, and since when the first
    # waits for memory; 0: none does.
    jobs_committed_bytes = _Word(28)
    jobs_held_bytes = _Word(29)
    jobs_head_nanoseconds = _Word(30)
    jobs_running = _Word(31)
    jobs_waiting = _Word(32)
    jobs_idle = _Word(33)
    # Since the start of the server.
    jobs_started = _Word(34)
    jobs_done = _Word(35)
    jobs_failed = _Word(36)
    jobs_refused = _Word(37)
    jobs_timed_out = _Word(38)
    jobs_killed = _Word(39)
    # What workers that have ended had counted in their slots.
    ended_requests = _Word(40)
    ended_refused = _Word(41)
    ended_waited = _Word(42)
    ended_memory_errors = _Word(43)

    def note_death(self, cause: int) -> None:
        """Count the unexpected end of a worker; *cause* is below :data:`DEATH_CAUSES`."""
        self.words[self.offset + _DEATHS_AT + cause] += 1

    def deaths(self) -> tuple[int, ...]:
        """Return how many workers have died of each cause, since the start of the server."""
        at = self.offset + _DEATHS_AT
        return tuple(self.words[at : at + DEATH_CAUSES])


class Slot(_Section):
    """What one worker says of itself; ``pid`` 0 means the slot is free."""

    __slots__ = ("flight", "index")

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
    # Its data, which the fuse limits, when it wrote what it holds and has promised.
    data_bytes = _Word(19)
    # Of what it has promised, what was so when its requests were let in: what one has been found to
    # need beyond that keeps others out, but is not its right.
    granted_bytes = _Word(20)
    # What its requests have taken beyond what they were granted.
    overdrawn_bytes = _Word(21)
    # What its requests in flight have taken, as far as that is measured.
    taken_bytes = _Word(22)
    # What the stacks of its threads reserve of its data.
    stacks_bytes = _Word(23)
    # Written by the supervisor.
    pss_bytes = _Word(24)
    uss_bytes = _Word(25)
    # What was private when these were measured: what came since is known without measuring.
    rolled_up_private_bytes = _Word(26)
    # Written by both. The fuse: RLIMIT_DATA; 0: none is set.
    data_limit_bytes = _Word(27)
    # Written by the worker: odd while it writes what it holds and has promised, which belong
    # together.
    edition = _Word(28)

    def __init__(self, words: memoryview, offset: int, index: int, flight: memoryview) -> None:
        super().__init__(words, offset)
        self.index = index
        #: The bytes of its requests in flight.
        self.flight = flight

    def wipe(self) -> None:
        """Forget the worker: for the supervisor, once the worker is dead."""
        for index in range(_SLOT_WORDS):
            self.words[self.offset + index] = 0
        self.flight[:] = bytes(_FLIGHT_BYTES)


class SharedPage:
    """The mapping and its sections."""

    def __init__(self, slots: int = MAX_WORKERS) -> None:
        """Map the page with room for *slots* workers, at most :data:`MAX_WORKERS`."""
        self._map = mmap.mmap(-1, PAGE_BYTES)
        everything = memoryview(self._map)
        self.words: memoryview = everything[:_COSTS_AT].cast("q")
        self.header = Header(self.words, 0)
        self._slots = tuple(
            Slot(
                self.words,
                _HEADER_WORDS + index * _SLOT_WORDS,
                index,
                everything[_FLIGHTS_AT + index * _FLIGHT_BYTES :][:_FLIGHT_BYTES],
            )
            for index in range(MAX_WORKERS)
        )
        self._costs = everything[_COSTS_AT:_FLIGHTS_AT]
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
        """Return what all workers and isolated jobs together may come to hold."""
        words = self.words
        indexes = self._committed_indexes[: self.header.slot_count]
        workers: int = sum([words[index] for index in indexes])
        return workers + self.header.jobs_committed_bytes

    def live_slots(self) -> list[Slot]:
        """Return the slots that belong to a worker."""
        return [slot for slot in self.slots if slot.pid]

    def cost_names(self, row: int) -> memoryview:
        """Return the bytes of the name of cost *row*."""
        start = row * _COST_BYTES
        return self._costs[start : start + COST_NAME_BYTES]

    def cost_name(self, row: int) -> str:
        """Return the name of cost *row*, as whoever wrote it last had it; "" if there is none."""
        if not 0 <= row < MAX_ROUTES:
            return ""
        return bytes(self.cost_names(row)).rstrip(b"\0").decode(errors="replace")

    def route_name(self, row: int) -> str:
        """Return what people call the route of cost *row*: its template, if that has become known.

        The first requests of a path are charged to the path's own row.
        """
        if not 0 <= row < MAX_ROUTES:
            return ""
        number = self.cost_numbers(row)[_TEMPLATE_ROW]
        # A worker that crashed may have left anything, and what is no number.
        template = self.cost_name(int(number) - 1) if 0 < number <= MAX_ROUTES else ""
        return template or self.cost_name(row)

    def note_template(self, row: int, template_row: int) -> None:
        """Note that the route of cost *row* has its template in *template_row*."""
        if 0 <= row < MAX_ROUTES and row != template_row:
            self.cost_numbers(row)[_TEMPLATE_ROW] = template_row + 1.0

    def cost_numbers(self, row: int) -> memoryview[float]:
        """Return the numbers of cost *row*, as doubles."""
        start = row * _COST_BYTES + COST_NAME_BYTES
        return self._costs[start : start + COST_NUMBERS * _WORD].cast("d")
