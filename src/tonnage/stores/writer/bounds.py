"""How much a buffer may hold, and how much of it is worth a flush: numbers, and what follows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of one buffer.

    Attributes:
        max_records: how many records there are at most.
        max_bytes: what they take at most.
        batch_records: from so many waiting records on they are due.
        batch_bytes: the same in bytes.
    """

    max_records: int
    max_bytes: int
    batch_records: int
    batch_bytes: int

    def allow(self, count: int, used_bytes: int) -> bool:
        """Return whether *count* records may be there, which take *used_bytes*."""
        return count <= self.max_records and used_bytes <= self.max_bytes

    def is_batch(self, count: int, used_bytes: int) -> bool:
        """Return whether *count* records, which take *used_bytes*, are due."""
        return count >= self.batch_records or used_bytes >= self.batch_bytes

    def batch_of(self, count: int, used_bytes: int) -> int:
        """Return how many of *count* records, which take *used_bytes*, are a batch."""
        most = self.batch_records
        if used_bytes > self.batch_bytes:
            most = min(most, -(-count * self.batch_bytes // used_bytes))
        return min(count, most)
