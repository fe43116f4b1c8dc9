"""Where rates are kept: one table of fixed size, shared by all workers of a machine.

A cell is 16 bytes: the keyed hash of who is limited by what, and its TAT (see
:mod:`tonnage.web.path.gcra`). The table is an anonymous shared mapping: made before the first fork,
it is one for all workers, and outlives each of them; made later, it is its process's own. It cannot
grow, whoever comes: :data:`MAX_KEYS` cells are 1 MB, of which only touched pages count.

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

if TYPE_CHECKING:
    from tonnage.web.path.gcra import Rate

#: Limits of clients that are remembered at once; from about half as many on, the first are
#: forgotten early, since sets do not fill evenly.
MAX_KEYS: Final = 65_536
CELL_BYTES: Final = 16
TABLE_BYTES: Final = MAX_KEYS * CELL_BYTES

_WAYS: Final = 8
_SET_WORDS: Final = 2 * _WAYS
_WORD_BYTES: Final = 8


class Store(Protocol):
    """Where TATs are kept. All instants are nanoseconds of the monotonic clock.

    A store across a network has the same two methods as coroutines, with the rate's figures as
    arguments of a script that does :meth:`~tonnage.web.path.gcra.Rate.left_ns` over there, at its
    own clock: *left* is relative, so clocks need not agree. The limiter decides before and after
    ``take`` only, so that what awaits it is one more method there.
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
    """

    def __init__(self, keys: int = MAX_KEYS) -> None:
        cells = max(_WAYS, 1 << (keys - 1).bit_length())
        self.secret = os.urandom(16)
        #: Clients that this process has forgotten although they had used something.
        self.forgotten = 0
        self._map = mmap.mmap(-1, cells * CELL_BYTES)
        # Hash and TAT of each cell by turns; zeros are a TAT that is past.
        self._words = memoryview(self._map).cast("Q")
        self._mask = cells - 1

    @property
    def size_bytes(self) -> int:
        """What the table takes once each of its pages has been touched."""
        return len(self._map)

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
        words = self._words
        home = (key & self._mask) << 1
        first = home - home % _SET_WORDS
        for at in range(first, first + _SET_WORDS, 2):
            if words[at] == key:
                words[at + 1] = max(0, words[at + 1] - rate.interval_ns * cost)

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


@cache
def default_table() -> RateTable:
    """Return the table of this process, made when first asked for.

    A server asks for it before it forks, so that its workers find theirs shared. The table is for
    all limits together: keys of different limits differ.
    """
    return RateTable()
