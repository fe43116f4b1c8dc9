"""Where rates are kept: one table of fixed size, shared by all workers of a machine.

A cell is 16 bytes: the keyed hash of who is limited by what, and its TAT (see
:mod:`tonnage.rates.gcra`). :func:`shared_table` lies in memory that all workers of a server find
by its name (:mod:`tonnage.host.commons`), and outlives each of them; a :class:`RateTable` made by
itself is shared with what its process forks from then on. It cannot grow, whoever comes:
:data:`MAX_KEYS` cells are 1 MB, of which only touched pages count.

The same cells keep other instants by key, such as until when somebody is blocked: see
:meth:`RateTable.ahead_ns` and :meth:`RateTable.put`.

**Who is forgotten.** A key may lie in any of the eight cells of its set. If all are taken, first
goes one whose TAT is past: it says nothing any more. If there is none, the one with the earliest
TAT. So among clients of one rate the one that has used least is forgotten, and gains exactly what
it had used: a flood of new addresses, each with one request, pushes out addresses of its own kind,
and never one that is at its limit. A newcomer does not inherit what the forgotten one had used,
though then nobody would gain anything: whoever has many addresses could lock everybody out.
The hash has a random key, so nobody can aim at a set.

**Races.** Nothing is locked. A word has many writers. Each looks once more before it writes, but
when two workers write for the same client within the same 50 ns, one of the two requests is not
counted, and when a worker is interrupted just there, neither are those that others counted
meanwhile. So a request more passes now and then, and none is refused for it: four workers on two
processors, all their 10,000 requests a second from one client, let 0.03 % more pass than they
should.
Two keys that claim the same cell at once can leave one with the TAT of the other; a TAT that its
rate cannot have is cut back, so that nobody waits for longer than his own rate would have him.
"""

from __future__ import annotations

import mmap
import os
from functools import cache
from typing import TYPE_CHECKING, Final, Protocol

from tonnage.host.commons import share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tonnage.rates.gcra import Rate

#: Limits of clients that are remembered at once; from about half as many on, the first are
#: forgotten early, since sets do not fill evenly.
MAX_KEYS: Final = 65_536
CELL_BYTES: Final = 16
TABLE_BYTES: Final = MAX_KEYS * CELL_BYTES

_WAYS: Final = 8
_SET_WORDS: Final = 2 * _WAYS
_SECRET_BYTES: Final = 16


class Store(Protocol):
    """Where TATs are kept. All instants are nanoseconds of the monotonic clock.

    Several machines share their counts beside a store, not in it: see
    :mod:`tonnage.web.path.redisrates`.
    """

    #: What keys are hashed with; the same in all processes that share the store.
    secret: bytes

    def take(self, key: int, rate: Rate, now_ns: int, cost: int = 1) -> int:
        """Count a request of *key* if *rate* allows it; return what is left, as ``left_ns``."""

    def give_back(self, key: int, rate: Rate, cost: int = 1) -> None:
        """Take back a request that was counted and then refused by another limit."""


class RateTable:
    """The table.

    Args:
        keys: how many cells there are; rounded up to a power of two.
        cells: zeros, or a table that others have begun there; by default memory of its own.
        secret: what keys are hashed with; by default a new one.
    """

    def __init__(
        self,
        keys: int = MAX_KEYS,
        *,
        cells: memoryview[int] | None = None,
        secret: bytes | None = None,
    ) -> None:
        size_bytes = _size_bytes(keys)
        self.secret = os.urandom(_SECRET_BYTES) if secret is None else secret
        #: Clients that this process has forgotten although they had used something.
        self.forgotten = 0
        own = memoryview(mmap.mmap(-1, size_bytes)) if cells is None else cells
        # Hash and TAT of each cell by turns; zeros are a TAT that is past.
        self._words = own[:size_bytes].cast("Q")
        self._mask = size_bytes // CELL_BYTES - 1

    @property
    def size_bytes(self) -> int:
        """What the table takes once each of its pages has been touched."""
        return self._words.nbytes

    def take(self, key: int, rate: Rate, now_ns: int, cost: int = 1) -> int:
        """Count a request of *key* if *rate* allows it; return what is left, as ``left_ns``.

        Args:
            key: 64 bits that are as good as random, and differ for each rate of a client.
            rate: what is allowed.
            now_ns: the monotonic clock's time.
            cost: how many requests this one counts for.
        """
        words = self._words
        at = (key & self._mask) << 1
        if words[at] != key:
            at = self._find(key, at, now_ns)
        at += 1
        while True:
            tat_ns = words[at]
            left_ns = rate.left_ns(tat_ns, now_ns, cost)
            if left_ns < 0:
                if tat_ns - now_ns > rate.full_ns:
                    # Not from this rate: another key claimed the cell at the same time.
                    words[at] = now_ns + rate.full_ns
                return max(left_ns, -rate.interval_ns * cost)
            later_ns = now_ns + rate.full_ns - left_ns
            if words[at] == tat_ns:
                words[at] = later_ns
                return left_ns

    def give_back(self, key: int, rate: Rate, cost: int = 1) -> None:
        """Take back a request that was counted and then refused by another limit."""
        for at in self._cells_of(key):
            self._words[at + 1] = max(0, self._words[at + 1] - rate.interval_ns * cost)

    def ahead_ns(self, key: int, now_ns: int) -> int:
        """Return how long the TAT of *key* is ahead of now; 0: it is past, or not known."""
        return next((max(0, self._words[at + 1] - now_ns) for at in self._cells_of(key)), 0)

    def put(self, key: int, tat_ns: int, now_ns: int) -> None:
        """Set the TAT of *key*, whatever it was."""
        home = (key & self._mask) << 1
        at = home if self._words[home] == key else self._find(key, home, now_ns)
        self._words[at + 1] = tat_ns

    def count_ahead(self, now_ns: int) -> int:
        """Return how many keys have a TAT ahead of now; looks at the whole table."""
        return sum(tat_ns > now_ns for tat_ns in self._words[1::2].tolist())

    def _cells_of(self, key: int) -> Iterator[int]:
        """Yield the word at which the cell of *key* begins, if there is one."""
        home = (key & self._mask) << 1
        first = home - home % _SET_WORDS
        return (at for at in range(first, first + _SET_WORDS, 2) if self._words[at] == key)

    def _find(self, key: int, home: int, now_ns: int) -> int:
        """Return the word at which the cell of *key* begins; one is taken for it if need be."""
        words = self._words
        first = home - home % _SET_WORDS
        held = words[first : first + _SET_WORDS].tolist()
        for way in range(0, _SET_WORDS, 2):
            if held[way] == key:
                return first + way
        at = home
        # At home it is found fastest.
        if held[home - first + 1] > now_ns:
            tat_ns, at = min((held[way + 1], first + way) for way in range(0, _SET_WORDS, 2))
            if tat_ns > now_ns:
                self.forgotten += 1
        words[at + 1] = 0
        words[at] = key
        return at


def _size_bytes(keys: int) -> int:
    return max(_WAYS, 1 << (keys - 1).bit_length()) * CELL_BYTES


def shared_table(name: str, keys: int = MAX_KEYS) -> RateTable:
    """Return the table *name* that all workers of this server share, with its secret.

    Raises:
        StoreError: it is there in another size, or there is no room for it.
    """
    size_bytes = _size_bytes(keys)
    region = share(name, size_bytes + _SECRET_BYTES)
    # Behind the cells, whose sets begin where lines of the processor's cache do.
    kept = region.bytes[size_bytes:]
    with region.locked():
        if not any(kept):
            kept[:] = os.urandom(_SECRET_BYTES)
    return RateTable(keys, cells=region.bytes, secret=bytes(kept))


@cache
def default_table() -> RateTable:
    """Return the table for all limits together: keys of different limits differ."""
    return shared_table("rate limits")
