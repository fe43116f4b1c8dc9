"""The jobs' entry in the common ledger, and the room that is left for them.

As each worker does for its requests (:mod:`tonnage.governor.ledger`): what the jobs come to is
published first, then the sum is read, and a job that puts it over the ceiling is taken back. The
words are the supervisor's alone. A job counts with all that it was promised, taken or not, and an
idle process with what it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.governor.ledger import HEAD_START_SECONDS, SMALL_SHARE
from tonnage.governor.levels import Level
from tonnage.governor.statistics import NANOSECONDS
from tonnage.jobs.decisions import Room
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from tonnage.governor.page import SharedPage
    from tonnage.jobs.line import Line


class Books:
    """What the jobs of *line* hold and may come to hold, in *page*."""

    def __init__(self, page: SharedPage, line: Line) -> None:
        self._page = page
        self._line = line
        self._least_others_bytes: int | None = None

    def room(self) -> Room:
        """Return what is left for more jobs, and who wants memory too."""
        header = self._page.header
        heads = [slot.head_nanoseconds for slot in self._page.slots if slot.head_nanoseconds]
        first = min(heads, default=0)
        return Room(
            free_bytes=self._ceiling_bytes() - self._page.committed_bytes(),
            is_pressed=header.level >= Level.WARNING,
            requests_since_seconds=first / NANOSECONDS + HEAD_START_SECONDS if first else None,
        )

    def publish(self) -> bool:
        """Say what the jobs come to; return whether that, with all else, is within the ceiling."""
        header, line = self._page.header, self._line
        header.jobs_committed_bytes = line.committed_bytes
        header.jobs_held_bytes = line.held_bytes
        header.jobs_head_nanoseconds = int((line.head_since_seconds or 0.0) * NANOSECONDS)
        header.jobs_running, header.jobs_waiting = line.running, line.waiting
        header.jobs_idle = line.idle
        return self._page.committed_bytes() <= self._ceiling_bytes()

    def why_never(self, memory_bytes: int) -> str | None:
        """Return why a job of *memory_bytes* can never run here, with the sum; None: it can."""
        header = self._page.header
        if header.sampled_nanoseconds:
            others = header.others_bytes
            if self._least_others_bytes is None or others < self._least_others_bytes:
                self._least_others_bytes = others
        others = self._least_others_bytes or 0
        set_aside = int(header.ceiling_bytes * SMALL_SHARE)
        most = header.ceiling_bytes - others - set_aside
        if not header.limit_bytes or memory_bytes <= most:
            return None
        reserve = header.limit_bytes - header.ceiling_bytes + set_aside
        return (
            f"it asks for {format_bytes(memory_bytes)}, and never more than "
            f"{format_bytes(max(0, most))} can be free for jobs: the limit of "
            f"{format_bytes(header.limit_bytes)} less {format_bytes(reserve)} in reserve and "
            f"{format_bytes(others)} for everything else; ask for less, see memory= and "
            "--job-memory, or raise the limit"
        )

    def _ceiling_bytes(self) -> int:
        header = self._page.header
        return header.workers_ceiling_bytes - int(header.ceiling_bytes * SMALL_SHARE)
