"""The black box: the last seconds of memory, and one report for each death.

Promises: :meth:`BlackBox.note` costs some 3 us and no memory, so it can follow every look; a report
is a file, whole, when :meth:`BlackBox.write` returns, and outlives this process (not a power cut at
that moment: :mod:`tonnage.server.postmortem.shelf`); what cannot be written goes to the log. A
request that ran out of memory while its worker went on is reported too, at most once in 60 s a
route. Neither raises, whatever the disk does and whatever a dying worker has left in the page.

What makes and keeps reports is imported with the first of them: 0.7 MB and some 10 ms that a server
without accidents does not spend.

Gathers no facts (the supervisor has them), draws no conclusions
(:mod:`tonnage.server.postmortem.cause`), and tells nobody but the log.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError
from tonnage.governor.page import MAX_WORKERS
from tonnage.server.samples import SampleRing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tonnage.server.postmortem.facts import Death, Incident
    from tonnage.server.postmortem.shelf import Listed, Shelf
    from tonnage.server.samples import Sample

logger = logging.getLogger("tonnage.supervisor")

#: A report shows so much of the past, or what the ring has of it.
PAST_SECONDS: Final = 10.0
#: A route's requests that ran out of memory are reported this often; those between are counted.
INCIDENT_SECONDS: Final = 60.0
#: Routes with a report of this kind in that time; those of further routes are only counted.
MOST_INCIDENT_ROUTES: Final = 16


# Small events, and the rounds of a crash loop: they are not to push out what matters.
_MINOR: Final = frozenset({"memory-error", "not-started"})


@dataclass(frozen=True, slots=True)
class Filed:
    """A report that was made.

    Attributes:
        summary: what happened, in one sentence, for a log line or an alert.
        path: its text; None if it could not be written and went to the log.
        report: all of it, as it stands in the JSON; empty if it could not be made.
    """

    summary: str
    path: Path | None
    report: dict[str, Any]

    @property
    def cause(self) -> str:
        """The kind of the cause."""
        return str(self.report.get("cause", {}).get("kind", "unknown"))


def make_directory(directory: Path, origin: str) -> None:
    """Make the *directory* for reports, and see that it can be written to.

    For one that the user has named, at the start: a mistake shall not come out with the first
    accident.

    Args:
        directory: where reports are to be kept.
        origin: how a message should call the setting.

    Raises:
        ConfigError: nothing can be written there.
    """
    probe = directory / f".tonnage-{os.getpid()}.tmp"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not os.access: root may everything, but not write to a file system that is read-only.
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        probe.unlink()
    except OSError as error:
        why = "it is not a directory" if isinstance(error, FileExistsError) else error.strerror
        raise ConfigError(
            f"{origin}: no report can be written to {directory}: {why or error}; name a directory "
            f"that user {os.getuid()} may write to, or leave it out, and reports are kept beside "
            "the control socket"
        ) from error


class BlackBox:
    """Remembers the last seconds, and writes them down when something has happened."""

    def __init__(
        self,
        directory: Path | None,
        keep: int,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        slots: int = MAX_WORKERS,
        application: str = "",
    ) -> None:
        """Begin with an empty ring.

        Args:
            directory: where reports are kept; None sends them to the log.
            keep: so many of the newest are kept.
            clock: monotonic seconds, the one that samples are taken by.
            wall_clock: seconds since 1970.
            slots: how many workers a sample can have.
            application: which one the reports are on, and in which directory it is; others may
                have theirs in the same place, as whoever had the port before.
        """
        self._ring = SampleRing(slots)
        self._directory = directory
        self._keep = keep
        self._clock = clock
        self._wall_clock = wall_clock
        self._is_writable = True
        self._rarely = Rarely(clock)
        # By process, when an allocation last failed in it; at most as many as there are slots.
        self._failed_seconds: dict[int, float] = {}
        self._slots = slots
        self._application = application

    def note(self, sample: Sample) -> None:
        """Remember *sample*, in place of the oldest."""
        self._ring.note(sample)

    def write(self, death: Death) -> Filed:
        """Report on *death*."""
        try:
            return self._write(death)
        except Exception:
            # What explains an accident must not be the next one.
            who = f"worker {death.worker}" if death.program is None else death.program.name
            logger.exception("no report can be made on the end of %s", who)
            return Filed(f"{who} ended", None, {})

    def incident(self, incident: Incident) -> Filed | None:
        """Report on *incident*; return None if its route had a report of late."""
        self._note_failure(incident.pid)
        held_back = self._rarely.take(incident.route)
        if held_back is None:
            return None
        try:
            return self._incident(incident, held_back)
        except Exception:
            logger.exception("no report can be made on %s out of memory", incident.route)
            return None

    def reports(self) -> list[Listed]:
        """Return the reports on disk, the newest first."""
        shelf = self._shelf()
        return shelf.listing() if shelf is not None else []

    def is_own(self, listed: Listed) -> bool:
        """Whether the report is on this server's application, as far as it says."""
        return listed.application in ("", self._application)

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the report *name* with its ``text``; None if there is none of that name."""
        shelf = self._shelf()
        return shelf.read(name) if shelf is not None else None

    def _note_failure(self, pid: int | None) -> None:
        if pid is None:
            return
        # Again, so that it is the youngest; the oldest goes.
        self._failed_seconds.pop(pid, None)
        self._failed_seconds[pid] = self._clock()
        if len(self._failed_seconds) > self._slots:
            del self._failed_seconds[next(iter(self._failed_seconds))]

    def _write(self, death: Death) -> Filed:
        from tonnage.server.postmortem.report import of_death

        now = self._clock()
        at = self._wall_clock()
        samples = self._ring.since(now - PAST_SECONDS)
        failed = None if death.pid is None else self._failed_seconds.get(death.pid)
        report = of_death(death, samples, now_seconds=now, at_seconds=at, failed_seconds=failed)
        return self._file(report, at, death.worker if death.program is None else None)

    def _incident(self, incident: Incident, held_back: int) -> Filed:
        from tonnage.server.postmortem.report import of_incident

        now = self._clock()
        at = self._wall_clock()
        samples = self._ring.since(now - PAST_SECONDS)
        report = of_incident(incident, samples, now_seconds=now, at_seconds=at, held_back=held_back)
        return self._file(report, at, incident.worker)

    def _file(self, report: dict[str, Any], at_seconds: float, worker: int | None) -> Filed:
        from tonnage.server.postmortem.text import as_text

        report = report | {"application": self._application}
        text = as_text(report)
        path = self._put(report, text, at_seconds, worker)
        if path is None:
            logger.error("%s", text)
        return Filed(report["summary"], path, report)

    def _put(
        self, report: dict[str, Any], text: str, at_seconds: float, worker: int | None
    ) -> Path | None:
        shelf = self._shelf()
        if shelf is None:
            return None
        cause = report["cause"]["kind"]
        try:
            path = shelf.put(report, text, at_seconds=at_seconds, worker=worker, cause=cause)
        except OSError as error:
            # Once: the next report is tried again, since a disk that is full can become free.
            if self._is_writable:
                logger.error(
                    "no report can be written to %s: %s; reports go to the log; see --report-dir",
                    shelf.directory,
                    error.strerror or error,
                )
            self._is_writable = False
            return None
        self._is_writable = True
        return path

    def _shelf(self) -> Shelf | None:
        if self._directory is None:
            return None
        from tonnage.server.postmortem.shelf import Shelf

        return Shelf(self._directory, self._keep, minor=_MINOR)


class Rarely:
    """Lets one event a key pass in :data:`INCIDENT_SECONDS`, and counts the others.

    Bounded: :data:`MOST_INCIDENT_ROUTES` keys. When all were let pass of late, a further key has to
    wait as well.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # When it was last let pass, and how many were not since.
        self._keys: dict[str, tuple[float, int]] = {}

    def take(self, key: str) -> int | None:
        """Return how many were held back since *key* last passed; None if it has to wait."""
        now = self._clock()
        passed, count = self._keys.get(key, (None, 0))
        if passed is not None and now - passed < INCIDENT_SECONDS:
            self._keys[key] = (passed, count + 1)
            return None
        if passed is None and len(self._keys) >= MOST_INCIDENT_ROUTES and not self._make_room(now):
            return None
        self._keys[key] = (now, 0)
        return count

    def _make_room(self, now: float) -> bool:
        oldest = min(self._keys, key=lambda key: self._keys[key][0])
        if now - self._keys[oldest][0] < INCIDENT_SECONDS:
            return False
        del self._keys[oldest]
        return True
