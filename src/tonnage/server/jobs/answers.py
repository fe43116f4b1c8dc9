"""The last word on each job: how it ended or why it was refused, counted, logged and told.

Promises that an end is logged once: by the report, where one is written of it, or else by the
tally. When a job ends or is refused is the owner's (:mod:`tonnage.server.jobs.owner`).
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tonnage.server.jobs.ends import End, judge
from tonnage.server.jobs.job import Job, Killed
from tonnage.server.jobs.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import SharedPage
    from tonnage.jobs.decisions import Refusal
    from tonnage.jobs.line import Line
    from tonnage.server.jobs.child import Child


class Answers:
    """What callers are told."""

    def __init__(
        self,
        page: SharedPage,
        slots: int,
        *,
        claim_kill: Callable[[], bool],
        on_killed: Callable[[Killed], bool],
        clock: Callable[[], float],
    ) -> None:
        """Tell nobody yet; the arguments are those of the owner."""
        self.tally = Tally(page)
        self._header = page.header
        self._slots = slots
        self._claim_kill = claim_kill
        self._on_killed = on_killed
        self._clock = clock

    def judge(self, job: Job, child: Child, status: int | None) -> End:
        """Return how *job* has ended; *status* is its process's, None if that goes on."""
        is_kernels = False
        is_explained = bool(child.killed or child.said)
        if status is not None and os.WIFSIGNALED(status) and not is_explained:
            is_kernels = os.WTERMSIG(status) == signal.SIGKILL and self._claim_kill()
            age_seconds = job.seconds(self._clock())
            killed = Killed(child.pid or 0, job.call.function, age_seconds, status, is_kernels)
            child.is_logged = self._on_killed(killed)
        return judge(
            job.call,
            killed=child.killed,
            said=child.said,
            status=status,
            is_kernels=is_kernels,
            limit_bytes=self._header.limit_bytes,
            held=child.held,
        )

    def ended(self, job: Job, end: End) -> None:
        """Say that *job* has ended, whether it had begun or not."""
        child, pid, peak_bytes, is_logged = job.child, None, 0, False
        if child is not None:
            pid, is_logged = child.pid, child.is_logged
            said_bytes = 0 if child.said is None else child.said.peak_bytes
            peak_bytes = max(said_bytes, child.peak_bytes)
        seconds = job.seconds(self._clock())
        self.tally.ended(job.call, pid, end, peak_bytes, seconds, is_logged=is_logged)
        job.tell_ended(end)

    def refused(self, job: Job, reason: Refusal, text: str, line: Line) -> None:
        """Say that *job* is refused, and when it might have its turn in *line*."""
        now = self._clock()
        self.tally.refused(text, now)
        free_seconds = line.free_in_seconds(now, self.tally.mean_seconds)
        after_seconds = self.tally.retry_after_seconds(line.waiting, self._slots, free_seconds)
        job.tell_refused(reason, text, after_seconds)
