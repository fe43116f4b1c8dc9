"""Which requests are in flight in each worker, where the supervisor can read it after a death.

Covers the table of one worker in the shared page: written by that worker alone on the way of every
request, read by anybody, and still there when the worker is not.

Does not cover why a worker died (:mod:`tonnage.server.postmortem.cause`), nor the requests that
wait: they have not started, and hold nothing.

Bounded: :data:`~tonnage.governor.page.FLIGHT_ENTRIES` requests for each worker; what is beyond that
is counted and not recorded. An entry names its route by the row of the table of costs; where that
row has gone to another route meanwhile, the other one's name is shown.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.governor.page import FLIGHT_CLIENT_BYTES, FLIGHT_ENTRIES, FLIGHT_ENTRY_BYTES

if TYPE_CHECKING:
    from tonnage.governor.page import SharedPage, Slot

#: The entry of a request that found the table full. Others are named by where they begin.
NO_ENTRY: Final = 0

# A heart beats ten times a second: one that has not for so long is in the middle of a step.
STALE_SECONDS: Final = 0.3

_NANOSECONDS: Final = 1_000_000_000

# Start (0: the entry is free), row, expected bytes, grown bytes, client. In the page's first word,
# before the entries: how many requests are in flight beyond the table.
_ENTRY: Final = struct.Struct(f"=qqqq{FLIGHT_CLIENT_BYTES}s")
_pack: Final = _ENTRY.pack_into
_WORD: Final = struct.Struct("=q")
_pack_word: Final = _WORD.pack_into
_ENTRIES: Final = range(_WORD.size, FLIGHT_ENTRIES * FLIGHT_ENTRY_BYTES, FLIGHT_ENTRY_BYTES)
_EXPECTED_AT, _GROWN_AT = 2 * _WORD.size, 3 * _WORD.size


@dataclass(frozen=True, slots=True)
class InFlight:
    """One request in flight: as much as was known of it when it was last looked at."""

    method: str
    route: str
    age_seconds: float
    #: What it was still expected to grow by when that was last worked out; 0: not worked out.
    expected_bytes: int
    #: What it has been seen to grow by; 0 also where it is not measured, as small ones are not.
    grown_bytes: int
    client: str
    is_running: bool


@dataclass(frozen=True, slots=True)
class Flights:
    """The requests in flight in one worker, oldest first, and how many more there are."""

    requests: tuple[InFlight, ...]
    beyond: int


class Flight:
    """This worker's table. Nothing here raises, and one request costs about half a microsecond."""

    __slots__ = ("_beyond", "_buffer", "_free", "_slot")

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._buffer = slot.flight
        self._beyond = 0
        # Last freed, first used: a quiet worker touches one entry. At most FLIGHT_ENTRIES.
        self._free = list(reversed(_ENTRIES))

    def begin(self, row: int, client: str, now_ns: int) -> int:
        """Note that a request has begun, and return its entry, or :data:`NO_ENTRY`.

        Args:
            row: its route's row in the table of costs; negative if it has none.
            client: the client's address, of which 48 bytes are kept; no address is longer.
            now_ns: the monotonic clock in nanoseconds.
        """
        if not self._free:
            self._note_beyond(1)
            return NO_ENTRY
        entry = self._free.pop()
        _pack(self._buffer, entry, now_ns, row, 0, 0, client.encode("utf-8", "replace"))
        return entry

    def end(self, entry: int) -> None:
        """Note that the request of *entry* has ended; to be called once for each ``begin``."""
        if entry:
            _pack_word(self._buffer, entry, 0)
            self._free.append(entry)
        else:
            self._note_beyond(-1)

    def expect(self, entry: int, expected_bytes: int) -> None:
        """Note what the request of *entry* is still expected to grow by."""
        if entry:
            _pack_word(self._buffer, entry + _EXPECTED_AT, expected_bytes)

    def grow(self, entry: int, grown_bytes: int) -> None:
        """Note what the request of *entry* has grown by."""
        if entry:
            _pack_word(self._buffer, entry + _GROWN_AT, grown_bytes)

    def run(self, entry: int) -> None:
        """Note that a step of the request of *entry* is running; :data:`NO_ENTRY`: none is."""
        self._slot.running = entry

    def _note_beyond(self, change: int) -> None:
        self._beyond += change
        _pack_word(self._buffer, 0, self._beyond)


def read_flight(page: SharedPage, slot_index: int, now_ns: int) -> Flights:
    """Return what is in flight in the worker of *slot_index*, or was when it died.

    The request that is running is the one whose measured step is; else, where the event loop has
    not turned for :data:`STALE_SECONDS`, the one begun last.

    Args:
        page: the shared page; what is in it is not trusted.
        slot_index: the worker's slot, before it is wiped.
        now_ns: the monotonic clock in nanoseconds; for a dead worker, the time of its death.
    """
    slot = page.slots[slot_index]
    (beyond,) = _WORD.unpack_from(slot.flight)
    begun = sorted(
        (start_ns, entry) for entry in _ENTRIES if (start_ns := _read(slot, entry)[0]) > 0
    )
    running = _running(slot, begun, now_ns)
    return Flights(
        tuple(_in_flight(page, slot, entry, running, now_ns) for _, entry in begun),
        max(0, beyond),
    )


def _running(slot: Slot, begun: list[tuple[int, int]], now_ns: int) -> int:
    if slot.running > 0:
        return slot.running
    is_stale = now_ns - slot.heartbeat_nanoseconds > STALE_SECONDS * _NANOSECONDS
    return begun[-1][1] if is_stale and begun else NO_ENTRY


def _in_flight(page: SharedPage, slot: Slot, entry: int, running: int, now_ns: int) -> InFlight:
    start_ns, row, expected_bytes, grown_bytes, client = _read(slot, entry)
    method, _, route = page.route_name(row).partition(" ")
    return InFlight(
        method=method,
        route=route or "?",
        age_seconds=max(0, now_ns - start_ns) / _NANOSECONDS,
        expected_bytes=max(0, expected_bytes),
        grown_bytes=grown_bytes,
        client=client.split(b"\0", 1)[0].decode(errors="replace"),
        is_running=entry == running,
    )


def _read(slot: Slot, entry: int) -> tuple[int, int, int, int, bytes]:
    start_ns, row, expected_bytes, grown_bytes, client = _ENTRY.unpack_from(slot.flight, entry)
    return start_ns, row, expected_bytes, grown_bytes, client
