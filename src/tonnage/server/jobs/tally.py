"""What has become of all jobs: counted in the shared page's header, and logged.

Each start and each good end is one line at DEBUG, each bad end that no report tells of one at
WARNING; of what is refused there is a line a minute at most.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from tonnage.units import format_bytes

if TYPE_CHECKING:
    from tonnage.governor.page import SharedPage
    from tonnage.jobs.call import Call
    from tonnage.server.jobs.ends import End

logger = logging.getLogger("tonnage.jobs")

#: What the log says of a job, by how it ended.
_ENDINGS: Final = {
    "done": "was done",
    "raised": "raised an error",
    "exit": "ended without an answer",
    "signal": "was ended by a signal",
    "deadline": "was ended at its deadline",
    "memory": "was ended for its memory",
    "kernel": "was killed by the kernel",
    "cancelled": "was cancelled",
    "stopping": "was ended with the server",
}

_REFUSED_SECONDS: Final = 60.0
# A new job's time counts for so much in the mean of all.
_SHARE: Final = 0.2
_LEAST_RETRY_SECONDS: Final = 1.0
_MOST_RETRY_SECONDS: Final = 60.0


class Tally:
    """Counts jobs, and knows about how long one takes."""

    def __init__(self, page: SharedPage) -> None:
        self._header = page.header
        self.mean_seconds = 1.0
        self._refused = 0
        self._told_seconds: float | None = None

    def started(self, call: Call, pid: int | None) -> None:
        """Note that a job starts."""
        self._header.jobs_started += 1
        logger.debug("job %s starts (pid %s)", call.function, pid or "to come")

    def ended(
        self,
        call: Call,
        pid: int | None,
        end: End,
        peak_bytes: int,
        seconds: float,
        *,
        is_logged: bool = False,
    ) -> None:
        """Note how a job ended, what it held at most and how long it ran.

        *is_logged*: a report has told of it already.
        """
        header = self._header
        # What was broken off says nothing of how long a job takes, nor of how well.
        is_own_end = end.how not in ("cancelled", "stopping")
        if is_own_end:
            self.mean_seconds += (seconds - self.mean_seconds) * _SHARE
        if end.how in ("done", "raised"):
            header.jobs_done += 1
        elif end.how == "deadline":
            header.jobs_timed_out += 1
        elif end.how in ("kernel", "signal"):
            header.jobs_killed += 1
        elif is_own_end:
            header.jobs_failed += 1
        quiet = is_logged or end.how in ("done", "raised", "cancelled")
        logger.log(
            logging.DEBUG if quiet else logging.WARNING,
            "job %s (pid %s) %s after %.2f s, with a peak of %s%s",
            call.function,
            pid or "none",
            _ENDINGS.get(end.how, "ended"),
            seconds,
            format_bytes(peak_bytes),
            f": {end.text}" if end.text else "",
        )

    def refused(self, text: str, now_seconds: float) -> None:
        """Note that a job was refused."""
        self._header.jobs_refused += 1
        self._refused += 1
        told = self._told_seconds
        if told is None or now_seconds - told >= _REFUSED_SECONDS:
            logger.warning("jobs refused since the last such line: %d; %s", self._refused, text)
            self._refused, self._told_seconds = 0, now_seconds

    def retry_after_seconds(self, waiting: int, slots: int, free_seconds: float) -> float:
        """Return about when a slot comes free for one more.

        With *waiting* before it, and the first of *slots* free in *free_seconds*.
        """
        seconds = free_seconds + self.mean_seconds * waiting / slots
        return round(min(max(seconds, _LEAST_RETRY_SECONDS), _MOST_RETRY_SECONDS), 1)
