"""What both pools of plain connections have beside what all pools have (:mod:`..pooling.kept`)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, TypeVar

from tonnage.db.pooling.kept import KeptPool

if TYPE_CHECKING:
    from tonnage.db.pooling.counting import PoolStatistics
    from tonnage.db.pooling.keeper import Life


class Plain(Protocol):
    """A driver's connection, as our pools open it."""

    life: Life


P = TypeVar("P", bound=Plain)


class PlainPool(KeptPool[P]):
    """A pool that is used as it is, without SQLAlchemy."""

    @property
    def name(self) -> str:
        """What it is called in logs and statistics."""
        return self._keeper.name

    def statistics(self) -> PoolStatistics:
        """Return how many connections are open, in use and idle, who waits, and totals."""
        return self._keeper.statistics()

    def __repr__(self) -> str:
        slots = self.slots
        return (
            f"<{type(self).__name__} {self.name!r}: {slots.in_use} in use, {slots.idle} idle,"
            f" {slots.waiting} waiting, limit {slots.limit}>"
        )

    def _life(self, connection: P) -> Life:
        return connection.life

    def _is_ours(self, connection: P) -> bool:
        """Return whether *connection* is of this process.

        A child that was forked while one was in use has the same socket: a word of the child's
        would be one in the parent's transaction.
        """
        return connection.life.process == os.getpid()
