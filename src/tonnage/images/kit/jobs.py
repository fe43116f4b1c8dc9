"""Jobs that make pictures of photos, beside the requests that brought them.

    jobs = PictureJobs(partial(images.remove_background, background="white"), name="cards")
    status = jobs.submit(files.only)            # within the block of Uploads
    jobs.status(status.id), jobs.content(status.id), jobs.cancel(status.id)

Promises: who submits does not wait for it, from threads and event loops alike; a photo that was
taken is tried until it is made, fails, is cancelled or has waited too long; any worker knows how
far it is (:mod:`.results`); what its client does meanwhile does not matter.

Bounds: *at_once* jobs of each worker are handed on at a time, *waiting* more wait here with an open
file and no memory, and further ones are refused with 503. How much memory a job takes, and how many
run on the machine, is up to *make*: an isolated function has its bounds from
:mod:`tonnage.jobs`. What they have made is kept for *keep*, in *keep_bytes* at most.

A job is its worker's. One that ends in an orderly way finishes what it can and says of the others
that they have failed; of one that is killed its silence says so (:mod:`.status`).
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Final

from tonnage.checks import whole
from tonnage.errors import ConfigError, RequestRefusedError
from tonnage.images.kit.held import HeldFile
from tonnage.images.kit.queue import LOOK_SECONDS, PictureQueue
from tonnage.images.kit.results import Results
from tonnage.images.kit.status import LOST_SECONDS, State, Status
from tonnage.problem import Problem
from tonnage.units import parse_seconds

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from tonnage.images.kit.queue import Make, Then
    from tonnage.web.path.uploads import UploadedFile

#: When a photo is refused since too many wait, its client is asked to come back after this.
RETRY_AFTER_SECONDS: Final = 10


class PictureJobs:
    """The picture jobs of one kind, as applications have them made.

    Args:
        make: makes a picture of the photo at a path; called in an event loop of its own, and
            expected to leave the work to others (``images.remove_background``, or a function that
            awaits an isolated one).
        name: what results are kept under; two kinds of jobs have two names.
        at_once: how many of each worker are made at a time.
        waiting: how many of each worker wait for that.
        patience: how long a job waits for its turn, here and on the machine, before it fails.
        keep: for how long a picture is kept; None: not at all, for *then* has it.
        keep_bytes: what all that is kept may take, in a file that workers share; one picture may
            take a sixteenth of it.
        then: called in a thread with each picture, and with what was said of its photo, before its
            job is done: to store it somewhere else. It is not called for a job that was cancelled;
            once it was called the job goes on to its end.
        clock: seconds since 1970.
        look_seconds: how often it is looked whether a job is wanted still, and, where the machine
            had no room for one, whether it has again.

    Raises:
        ConfigError: a bound makes no sense, or LMDB is not installed (``tonnage[shared]``).
    """

    def __init__(
        self,
        make: Make,
        *,
        name: str = "pictures",
        at_once: int = 1,
        waiting: int = 16,
        patience: float | str = "2m",
        keep: float | str | None = "10m",
        keep_bytes: int | str = "64M",
        then: Then | None = None,
        clock: Callable[[], float] = time.time,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        whole("at_once", at_once, 1)
        whole("waiting", waiting, 0)
        if keep is None and then is None:
            raise ConfigError(
                f"jobs {name!r}: nobody would have the pictures: keep them, or `then`"
            )
        self._results = Results(name, keep_bytes)
        self._queue = PictureQueue(
            make,
            self._results,
            at_once=at_once,
            patience_seconds=parse_seconds(patience),
            keep_seconds=0.0 if keep is None else parse_seconds(keep),
            then=then,
            clock=clock,
            look_seconds=look_seconds,
        )
        self._at_once = at_once
        self._most = at_once + waiting
        self._clock = clock
        self._lock = threading.Lock()

    @property
    def may_block(self) -> bool:
        """Whether asking for a job may take a round trip to Redis: not for an event loop then."""
        return self._results.may_block

    def submit(
        self, photo: UploadedFile | str | os.PathLike[str], about: str | int | None = None
    ) -> Status:
        """Take *photo*, whose file may be gone afterwards, and return its job's status at once.

        Reads the photo's header; in an event loop call it with ``asyncio.to_thread``.

        Args:
            photo: a file of ``Uploads``, or a path.
            about: whose photo it is, for instance: for *then*, and for whoever asks for the status.

        Raises:
            ImageRefusedError: it is no picture, or one that would become too large.
            RequestRefusedError: too many wait; 503 with ``Retry-After``.
            OSError: it cannot be read.
        """
        from tonnage.images.photo import open_photo

        held = HeldFile(photo)
        try:
            open_photo(held.path)
            with self._lock:
                ahead = self._queue.length
                if ahead >= self._most:
                    raise _too_many(ahead)
                place = max(1, ahead + 1 - self._at_once)
                id = secrets.token_urlsafe(16)
                status = Status(id, State.WAITING, self._clock(), about=about, place=place)
                self._queue.take(status, held)
        except BaseException:
            held.close()
            raise
        return status

    def status(self, id: str) -> Status | None:
        """Return how far the job *id* is, in whichever worker; None: nobody knows it."""
        found = self._results.status(id)
        return None if found is None else found.as_of(self._clock())

    def content(self, id: str) -> bytes | None:
        """Return the picture that the job *id* has made; None: there is none (any more)."""
        status = self.status(id)
        if status is None or status.state is not State.DONE:
            return None
        return self._results.content(id)

    def cancel(self, id: str) -> bool:
        """Have the job *id* ended, in whichever worker it is, or what it has made forgotten.

        Where the picture is just being stored, it is forgotten afterwards. Return whether there was
        anything to end or to forget.
        """
        status = self.status(id)
        if status is None or (status.is_over and status.state is not State.DONE):
            return False
        # Whose it is looks for that every second, here as in other workers.
        self._results.note_unwanted(id, self._queue.remember_seconds + LOST_SECONDS)
        return True

    def __repr__(self) -> str:
        return f"<PictureJobs {self._queue.length} of {self._most}>"


def _too_many(count: int) -> RequestRefusedError:
    detail = f"{count} photos wait already: send it again in {RETRY_AFTER_SECONDS} s"
    return RequestRefusedError(
        Problem(
            503,
            "jobs_busy",
            detail,
            {"retryAfter": RETRY_AFTER_SECONDS},
            ((b"retry-after", str(RETRY_AFTER_SECONDS).encode()),),
        )
    )
