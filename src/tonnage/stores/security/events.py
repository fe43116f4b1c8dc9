"""The last security events, of all workers together: a ring of records in shared memory.

Promises: each worker sees the events of all, and the supervisor too; they outlive the worker that
noted them. A record is read whole or not at all: it has a check sum. The supervisor reads without
a lock, so that a stopped worker cannot hold it up. Events that are too old are never shown; each
new event erases two such that are left over, and :meth:`EventRing.sweep` the rest: a worker of
``tonnage run`` calls it once a minute (:func:`sweep`). No memory comes free by that, since it is
fixed; what was kept of people is gone.

Bounded: :data:`MOST_KEPT` records of :data:`RECORD_BYTES`, of which the pages count that were
written: 256 KB for a thousand. What does not fit into a record is cut. Decides nothing.
"""

from __future__ import annotations

import struct
import time
from binascii import crc32
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tonnage.host.commons import share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tonnage.host.commons import Region

MOST_KEPT: Final = 4000
RECORD_BYTES: Final = 256
RING_BYTES: Final = (1 + MOST_KEPT) * RECORD_BYTES

#: What is counted since the server has started, by its place in the header.
COUNTED: Final = (
    "failed",
    "succeeded",
    "suspicious",
    "blocked",
    "alerts",
    "left_out",
    "refused",
    "forgotten",
)

_NAME: Final = "security events"
# The words of the header: how many are kept, and the most that ever were; for how long; the last
# number given; up to which number records were erased; how many of the refused were told; what is
# counted.
_KEEP, _WIDEST, _KEEP_SECONDS, _LAST, _ERASED, _TOLD, _COUNTS = range(7)
_NANOSECONDS: Final = 1_000_000_000

# Check sum of all that follows; lengths of the four texts; number; nanoseconds since 1970.
_HEAD: Final = struct.Struct("<I4B QQ")
_SUM_BYTES: Final = 4
_NUMBER_WORD, _TIME_WORD = 1, 2
_RECORD_WORDS: Final = RECORD_BYTES // 8
_MOST_KIND_BYTES, _MOST_CLIENT_BYTES, _MOST_USER_BYTES = 32, 48, 48


class Event(NamedTuple):
    """Something that has happened.

    Attributes:
        number: counted up from 1 since the server has started.
        time: seconds since 1970.
        kind: such as ``login_failed``.
        client: the address; empty where there was none.
        user: whom it was about, as the monitor shows users; empty where nobody was named.
        detail: what was said of it.
    """

    number: int
    time: float
    kind: str
    client: str
    user: str
    detail: str

    def as_json(self) -> dict[str, Any]:
        """Return it for people and machines, with the time as RFC 3339 has it."""
        when = datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds")
        return {**self._asdict(), "time": when}


class EventRing:
    """The ring.

    Args:
        region: where it is; by default what all processes of this server share.
        clock: seconds since 1970.
    """

    def __init__(
        self, region: Region | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._region = share(_NAME, RING_BYTES) if region is None else region
        self._words = self._region.words
        self._clock = clock

    @property
    def is_begun(self) -> bool:
        """Whether anybody notes events here."""
        return bool(self._words[_KEEP])

    def begin(self, keep: int, keep_seconds: float) -> None:
        """Have so many events kept, for so long; those that are there stay as far as they fit."""
        self._words[_KEEP_SECONDS] = int(keep_seconds)
        self._words[_WIDEST] = max(self._words[_WIDEST], keep)
        self._words[_KEEP] = keep

    def add(self, kind: str, client: str, user: str, detail: str, *counted: str) -> Event:
        """Keep an event, and count it; takes some microseconds."""
        now_ns = int(self._clock() * _NANOSECONDS)
        words = self._words
        with self._region.locked():
            self._count(counted)
            number = words[_LAST] = words[_LAST] + 1
            keep = words[_KEEP]
            self._erase(2, now_ns)
        texts = _fitting(kind, client, user, detail)
        lengths = (len(text) for text in texts)
        packed = bytearray(_HEAD.pack(0, *lengths, number, now_ns) + b"".join(texts))
        packed += bytes(RECORD_BYTES - len(packed))
        packed[:_SUM_BYTES] = crc32(packed[_SUM_BYTES:]).to_bytes(_SUM_BYTES, "little")
        # After the lock was given back: a number has one writer, and the sum tells if it is cut.
        at = _slot(number, keep)
        self._region.bytes[at : at + RECORD_BYTES] = packed
        return Event(number, now_ns / _NANOSECONDS, *(text.decode() for text in texts))

    def count(self, *counted: str) -> None:
        """Count something without keeping it."""
        with self._region.locked():
            self._count(counted)

    def take_refused(self) -> int:
        """Return how many were refused since this was asked last, in any process."""
        with self._region.locked():
            refused = self._words[_COUNTS + COUNTED.index("refused")]
            untold, self._words[_TOLD] = refused - self._words[_TOLD], refused
        return untold

    def counts(self) -> dict[str, int]:
        """Return what was counted since the server has started."""
        return {name: self._words[_COUNTS + place] for place, name in enumerate(COUNTED)}

    def newest(self) -> Iterator[Event]:
        """Yield the events that are kept, the newest first. Takes no lock."""
        last, keep = self._words[_LAST], self._words[_KEEP]
        since = self._clock() - self._words[_KEEP_SECONDS]
        # Where another number was kept before, records lie in other places. Pages that nobody has
        # written to are not read either: that would take memory for them.
        end = (1 + min(last, self._words[_WIDEST])) * _RECORD_WORDS
        numbers = self._words[_RECORD_WORDS + _NUMBER_WORD : end : _RECORD_WORDS].tolist()
        places = {number: place for place, number in enumerate(numbers, 1)}
        for number in range(last, max(0, last - keep), -1):
            if number in places:
                at = places[number] * RECORD_BYTES
                event = _read(self._region.bytes[at : at + RECORD_BYTES].tobytes())
                if event is not None and event.number == number and event.time >= since:
                    yield event

    def sweep(self) -> None:
        """Erase all events that are too old."""
        with self._region.locked():
            self._erase(MOST_KEPT, int(self._clock() * _NANOSECONDS))

    def _count(self, counted: tuple[str, ...]) -> None:
        for name in counted:
            self._words[_COUNTS + COUNTED.index(name)] += 1

    def _erase(self, most: int, now_ns: int) -> None:
        """Erase up to so many of the oldest events that are too old; with the lock held."""
        words, keep = self._words, self._words[_KEEP]
        before_ns = now_ns - words[_KEEP_SECONDS] * _NANOSECONDS
        erased = max(words[_ERASED], words[_LAST] - keep)
        while most and erased < words[_LAST]:
            at = _slot(erased + 1, keep)
            # Zero: its number is given, and it is about to be written.
            if not 0 < words[at // 8 + _TIME_WORD] < before_ns:
                break
            self._region.bytes[at : at + RECORD_BYTES] = bytes(RECORD_BYTES)
            most, erased = most - 1, erased + 1
        words[_ERASED] = erased


def sweep() -> None:
    """Erase what is too old, if anything is kept."""
    ring = EventRing()
    if ring.is_begun:
        ring.sweep()


def _slot(number: int, keep: int) -> int:
    """Return where the record *number* begins; the header has the first place."""
    return (1 + (number - 1) % keep) * RECORD_BYTES


def _fitting(kind: str, client: str, user: str, detail: str) -> tuple[bytes, ...]:
    texts = (
        _cut(kind, _MOST_KIND_BYTES),
        _cut(client, _MOST_CLIENT_BYTES),
        _cut(user, _MOST_USER_BYTES),
    )
    left_bytes = RECORD_BYTES - _HEAD.size - sum(map(len, texts))
    return *texts, _cut(detail, left_bytes)


def _cut(text: str, most_bytes: int) -> bytes:
    """Return *text* without what steers terminals and logs, and no longer than that."""
    text = text[:most_bytes]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "?" for char in text)
    cut = text.encode(errors="replace")[:most_bytes]
    return cut.decode(errors="ignore").encode()


def _read(packed: bytes) -> Event | None:
    """Return the event in a record; None where it is half written."""
    total, *lengths, number, time_ns = _HEAD.unpack_from(packed)
    if crc32(packed[_SUM_BYTES:]) != total:
        return None
    texts, at = [], _HEAD.size
    for length in lengths:
        texts.append(packed[at : at + length].decode())
        at += length
    return Event(number, time_ns / _NANOSECONDS, *texts)
