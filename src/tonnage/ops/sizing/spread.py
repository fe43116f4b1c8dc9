"""How a size was spread over time: its peak, and below what it stayed for most of it.

Bounded: 2.5 KB, whatever is added. A quantile is told up to 2.2 % too high, never too low.
"""

from __future__ import annotations

from array import array
from math import log2
from typing import Final

from tonnage.units import MIB

_PER_DOUBLING: Final = 32
# From 1 MB to 1 TB; what is beyond counts with the last.
_BUCKETS: Final = 20 * _PER_DOUBLING + 1


class Spread:
    """Seconds by size, in buckets of which each is 2.2 % larger than the one before."""

    __slots__ = ("_buckets", "peak_bytes", "seconds")

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.seconds = 0.0
        self._buckets = array("f", bytes(4 * _BUCKETS))

    def add(self, size_bytes: int, seconds: float) -> None:
        """Note that the size was *size_bytes* for so many seconds."""
        self.peak_bytes = max(self.peak_bytes, size_bytes)
        self.seconds += seconds
        self._buckets[_bucket(size_bytes)] += seconds

    def quantile_bytes(self, share: float) -> int:
        """Return what the size was at most for *share* of the time; 0: nothing was added."""
        left = share * self.seconds
        for number, seconds in enumerate(self._buckets):
            left -= seconds
            if seconds and left <= 0 and number < _BUCKETS - 1:
                return min(self.peak_bytes, int(MIB * 2 ** (number / _PER_DOUBLING)))
        return self.peak_bytes


def _bucket(size_bytes: int) -> int:
    """Return the number of the bucket whose upper end is the first that is not below the size."""
    if size_bytes <= MIB:
        return 0
    return min(_BUCKETS - 1, int(log2(size_bytes / MIB) * _PER_DOUBLING) + 1)
