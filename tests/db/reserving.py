"""Who grants memory, for tests: everything, or nothing; and remembers what it was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tonnage.errors import MemoryShortError
from tonnage.governor import reservations
from tonnage.problem import Problem


class Granting:
    """Grants all, or nothing."""

    def __init__(self, *, grants: bool = True) -> None:
        self._grants = grants
        #: What was asked for, in a thread or in an event loop.
        self.asked: list[tuple[int, str]] = []
        #: What is kept now.
        self.kept_bytes = 0
        #: What was said to have been taken outside of a request's steps.
        self.taken_bytes = 0

    async def enter(self, wanted: reservations.reserved) -> None:
        """Grant it to a coroutine."""
        self._enter(wanted, "loop")

    def enter_in_thread(self, wanted: reservations.reserved) -> None:
        """Grant it to a thread."""
        self._enter(wanted, "thread")

    def leave(self, wanted: reservations.reserved) -> None:
        """Keep it no longer."""
        self.kept_bytes -= wanted.size_bytes

    def taken(self, size_bytes: int) -> None:
        """Remember what was taken."""
        self.taken_bytes += size_bytes

    def _enter(self, wanted: reservations.reserved, where: str) -> None:
        self.asked.append((wanted.size_bytes, where))
        if not self._grants:
            raise MemoryShortError(Problem(503, "memory_short", "short of memory"))
        self.kept_bytes += wanted.size_bytes


@contextmanager
def granting(*, grants: bool = True) -> Iterator[Granting]:
    """Have memory granted, or refused, meanwhile."""
    reserver = Granting(grants=grants)
    reservations.use(reserver)
    try:
        yield reserver
    finally:
        reservations.use(None)


def peak_bytes() -> int:
    """Return the most that this process has held since the last call; it begins anew with each."""
    found = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    Path("/proc/self/clear_refs").write_text("5")
    return int(found) * 1024
