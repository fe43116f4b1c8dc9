"""The jobs of one worker: in the order in which they came, some at a time, and none for ever.

Runs in the loop of :mod:`tonnage.stores.background`; ``take`` and ``length`` are for any thread. A
job that the machine has no room for just now keeps its turn and tries again, until its patience
ends. Every second it is looked whether somebody wants one ended, in whichever worker, and every
few seconds it is said that they live.

Bounded by whoever calls ``take``; keeps an open file for each job.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import JobBusyError, MemoryShortError, RequestRefusedError
from tonnage.images.kit.reasons import NO_ROOM, reason_of, too_large_to_keep, too_late
from tonnage.images.kit.status import BEAT_SECONDS, Made, State, Status
from tonnage.stores.background import background

if TYPE_CHECKING:
    from tonnage.images.kit.held import HeldFile
    from tonnage.images.kit.results import Results
    from tonnage.images.picture import Picture

Make = Callable[[Path], Awaitable["Picture"]]
Then = Callable[["Picture", Any], object]

logger = logging.getLogger("tonnage.images")

#: How often it is looked whether somebody wants a job ended, and whether there is room again.
LOOK_SECONDS: Final = 1.0
#: What is known of a job is known for so long after its picture is gone: 410 and not 404.
REMEMBER_SECONDS: Final = 600.0


@dataclass(eq=False)
class Job:
    """A picture job of this worker."""

    status: Status
    photo: HeldFile
    #: Monotonic.
    since_seconds: float = field(default_factory=time.monotonic)
    task: asyncio.Task[None] | None = None


class PictureQueue:
    """This worker's queue of picture jobs of one kind.

    Args:
        make: see :class:`~tonnage.images.kit.jobs.PictureJobs`, as for the others.
        results: where it is told how far each is.
        at_once: how many are made at a time.
        patience_seconds: how long one waits for its turn and for room.
        keep_seconds: for how long a picture is kept; 0: not at all.
        then: what is called with it.
        clock: seconds since 1970.
        look_seconds: how often a job is looked at.
    """

    def __init__(
        self,
        make: Make,
        results: Results,
        *,
        at_once: int,
        patience_seconds: float,
        keep_seconds: float,
        then: Then | None,
        clock: Callable[[], float],
        look_seconds: float,
    ) -> None:
        self._make = make
        self._results = results
        self._at_once = at_once
        self._patience_seconds = patience_seconds
        self._keep_seconds = keep_seconds
        self._then = then
        self._clock = clock
        self._look_seconds = look_seconds
        # In the order in which they came; those with a task have had their turn.
        self._jobs: dict[str, Job] = {}
        self._watch: asyncio.Task[None] | None = None

    @property
    def length(self) -> int:
        """How many jobs are not over."""
        return len(self._jobs)

    @property
    def remember_seconds(self) -> float:
        """For how long a job is known after it is over."""
        return self._keep_seconds + REMEMBER_SECONDS

    def take(self, status: Status, photo: HeldFile) -> None:
        """Have a job at the end of the line; callers see to it that there is one at a time.

        Raises:
            RequestRefusedError: nobody could be told how far it is.
        """
        job = Job(status, photo)
        if not self._tell(job, status):
            raise RequestRefusedError(NO_ROOM)
        self._jobs[status.id] = job
        background().call(self._look)

    # In the background's loop.

    def _look(self) -> None:
        """Begin with whoever has the turn now, and tell the others their place."""
        if self._watch is None:
            background().on_close(self._close)
            self._watch = asyncio.ensure_future(self._look_after())
        jobs = list(self._jobs.values())
        free = self._at_once - sum(job.task is not None for job in jobs)
        for place, job in enumerate((job for job in jobs if job.task is None), 1 - free):
            if place < 1:
                job.task = asyncio.ensure_future(self._see_through(job))
            elif job.status.place != place:
                self._tell(job, job.status.placed(self._clock(), place))

    async def _see_through(self, job: Job) -> None:
        """Make the picture of *job*, whatever comes, and let the next one begin."""
        try:
            self._tell(job, job.status.running(self._clock()))
            await self._store(job, await self._made(job))
        except asyncio.CancelledError:
            # The mark that somebody has left says so already; else the process ends.
            self._tell(job, job.status.failed(self._clock(), reason_of(None)))
        except Exception as error:  # noqa: BLE001  (whatever it is, its client is told)
            self._tell(job, job.status.failed(self._clock(), reason_of(error)))
        finally:
            self._forget(job)

    async def _made(self, job: Job) -> Picture:
        """Return the picture of *job*; while there is no room on the machine, try again.

        Raises:
            Exception: what makes it has raised.
        """
        until_seconds = job.since_seconds + self._patience_seconds
        while True:
            try:
                return await self._make(job.photo.path)
            except (JobBusyError, MemoryShortError):
                if time.monotonic() + self._look_seconds > until_seconds:
                    raise
            await asyncio.sleep(self._look_seconds)

    async def _store(self, job: Job, picture: Picture) -> None:
        """Have *picture* where it is wanted, wholly or not at all: from here on nobody ends *job*.

        Raises:
            Exception: who was to have it has raised.
        """
        self._tell(job, job.status.storing(self._clock()))
        # Somebody may have wanted it ended before that was said (:mod:`.results`).
        if await self._is_unwanted(job.status.id):
            self._tell(job, job.status.cancelled(self._clock()))
            return
        if self._then is not None:
            await asyncio.to_thread(self._then, picture, job.status.about)
        self._tell(job, self._kept(job, picture))
        if await self._is_unwanted(job.status.id):
            self._results.forget_content(job.status.id)

    def _kept(self, job: Job, picture: Picture) -> Status:
        """Keep *picture*, and return what is to be said of its job."""
        id, now, content = job.status.id, self._clock(), picture.content
        seconds = self._keep_seconds
        if seconds and not self._results.keep_content(id, content, seconds):
            return job.status.failed(now, too_large_to_keep(len(content)))
        made = Made(
            picture.media_type,
            picture.width,
            picture.height,
            len(content),
            blake2b(content, digest_size=12).hexdigest(),
        )
        return job.status.done(now, made, now + (seconds or self.remember_seconds))

    def _tell(self, job: Job, status: Status) -> bool:
        """Have whoever asks told that *job* is as *status* says; return whether that could be."""
        job.status = status
        seconds = self.remember_seconds + (0.0 if status.is_over else self._patience_seconds)
        return self._results.keep_status(status, seconds)

    def _forget(self, job: Job) -> None:
        """Have *job* here no more."""
        job.photo.close()
        del self._jobs[job.status.id]
        self._look()

    async def _look_after(self) -> None:
        """End jobs that nobody wants or that have waited too long, and say that others live."""
        beat_seconds = 0.0
        while True:
            await asyncio.sleep(self._look_seconds)
            beat_seconds += self._look_seconds
            has_to_beat = beat_seconds >= BEAT_SECONDS
            try:
                for job in list(self._jobs.values()):
                    await self._look_at(job, has_to_beat=has_to_beat)
                # Who had the turn before may have found no memory to begin.
                self._look()
            except MemoryError:
                logger.warning("there was no memory just now to look after picture jobs")
                continue
            if has_to_beat:
                beat_seconds = 0.0

    async def _look_at(self, job: Job, *, has_to_beat: bool) -> None:
        id = job.status.id
        if await self._is_unwanted(id) and not job.status.is_storing:
            self._end(job, job.status.cancelled(self._clock()))
        elif job.task is None and time.monotonic() - job.since_seconds > self._patience_seconds:
            self._end(job, job.status.failed(self._clock(), too_late(self._patience_seconds)))
        elif has_to_beat and id in self._jobs:
            self._tell(job, job.status.alive(self._clock()))

    async def _is_unwanted(self, id: str) -> bool:
        if self._results.may_block:
            return await asyncio.to_thread(self._results.is_unwanted, id)
        return self._results.is_unwanted(id)

    def _end(self, job: Job, status: Status) -> None:
        """End *job*, whether it has begun or not; it may have ended by itself meanwhile."""
        if job.task is not None:
            job.task.cancel()
        # One that is cancelled before its first step never comes to its end.
        has_begun = job.task is not None and job.status.state is not State.WAITING
        if not has_begun and job.status.id in self._jobs:
            self._tell(job, status)
            self._forget(job)

    async def _close(self) -> None:
        """Finish what has begun, as far as there is time; the others have failed."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for job in list(self._jobs.values()):
            if job.task is None:
                self._end(job, job.status.failed(self._clock(), reason_of(None)))
        if tasks:
            # A little less than what is left, so that those that did not end can say so.
            _, late = await asyncio.wait(tasks, timeout=background().closing_seconds * 0.8)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1.0)
