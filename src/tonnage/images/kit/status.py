"""How far a job is, as whoever asks is told; pure, without clock or I/O.

    waiting -> running -> done -> expired        failed, cancelled: from the first two

A job is its worker's. While it is not over the worker beats (:data:`BEAT_SECONDS`); one that has
been silent for :data:`LOST_SECONDS` has ended, and the job with it: whoever asks then is told that
it has failed. What is done is there for a while, or until somebody wants it gone, and then it is
``expired``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from tonnage.problem import Problem

#: How often a worker says that its jobs are alive.
BEAT_SECONDS: Final = 5.0
#: How long it may be silent. A worker that was stopped for want of memory goes on well before.
LOST_SECONDS: Final = 20.0

_LOST: Final = Problem(
    503, "job_lost", "the process that had the photo has ended: send the photo again"
)


class State(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: It was done, and its picture is not kept any more.
    EXPIRED = "expired"


_OVER: Final = frozenset({State.DONE, State.FAILED, State.CANCELLED, State.EXPIRED})


@dataclass(frozen=True, slots=True)
class Made:
    """The picture that a job has made, but for its content."""

    media_type: str
    width: int
    height: int
    size_bytes: int
    #: Stands for the content: the same picture, the same tag.
    tag: str


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of one job.

    Attributes:
        id: what it is asked for by; nobody can guess it.
        state: where it stands.
        at: when its worker has last said so, in seconds since 1970.
        version: grows with each change; 0: it was just taken.
        about: what was said of its photo, for instance whose it is; its client is not told.
        is_storing: of a job that runs: its picture is made, and it is not ended any more.
        place: of a job that waits: how many have their turn before it, and one; else 0.
        until: of a job that is done: until when the picture is kept, in seconds since 1970.
        made: of a job that is done: the picture.
        reason: of a job that has failed: the status, error and detail of a problem.
    """

    id: str
    state: State
    at: float
    version: int = 0
    about: str | int | None = None
    is_storing: bool = False
    place: int = 0
    until: float = 0.0
    made: Made | None = None
    reason: tuple[int, str, str] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state in _OVER

    @property
    def problem(self) -> Problem | None:
        """Why it has failed, as an answer to a request; None: it has not."""
        return None if self.reason is None else Problem(*self.reason)

    def as_of(self, now: float) -> Status:
        """Return what is to be said of it at *now*: its worker or its picture may be gone."""
        if not self.is_over and now - self.at > LOST_SECONDS:
            return self.failed(now, _LOST)
        if self.state is State.DONE and now >= self.until:
            return self._changed(now, State.EXPIRED)
        return self

    def when_unwanted(self) -> Status:
        """Return what is to be said of it although somebody wants it ended or its picture gone.

        What its worker said before it could know counts no more. Only once the picture is being
        stored it is too late to end it: then the picture goes when it is done.
        """
        if self.state is State.DONE:
            return self._changed(self.at, State.EXPIRED)
        return self if self.is_storing else self.cancelled(self.at)

    # What may become of it.

    def alive(self, now: float) -> Status:
        """Return it unchanged, as its worker says at *now*."""
        return replace(self, at=now)

    def placed(self, now: float, place: int) -> Status:
        """Return it at another place in the line."""
        return self._changed(now, State.WAITING, place=place)

    def running(self, now: float) -> Status:
        """Return it with its turn come."""
        return self._changed(now, State.RUNNING)

    def storing(self, now: float) -> Status:
        """Return it with its picture made; for its client it is running still."""
        return replace(self, at=now, is_storing=True)

    def done(self, now: float, made: Made, until: float) -> Status:
        """Return it done, with the picture that is kept *until* then."""
        return self._changed(now, State.DONE, made=made, until=until)

    def failed(self, now: float, problem: Problem) -> Status:
        """Return it failed."""
        reason = problem.status, problem.error, problem.detail
        return self._changed(now, State.FAILED, reason=reason)

    def cancelled(self, now: float) -> Status:
        """Return it cancelled."""
        return self._changed(now, State.CANCELLED)

    def _changed(self, now: float, state: State, **facts: Any) -> Status:
        return Status(self.id, state, now, self.version + 1, self.about, **facts)

    # As others have to read it.

    def described(self) -> dict[str, Any]:
        """Return what its client is to know of it, as JSON."""
        told: dict[str, Any] = {"id": self.id, "status": self.state.value}
        if self.place:
            told["place"] = self.place
        if self.made is not None:
            told["picture"] = {
                "type": self.made.media_type,
                "width": self.made.width,
                "height": self.made.height,
                "bytes": self.made.size_bytes,
            }
        if self.problem is not None:
            told["problem"] = self.problem.members()
        return told

    def as_fields(self) -> dict[str, Any]:
        """Return it in plain JSON types."""
        fields = asdict(self)
        fields["state"] = self.state.value
        fields["reason"] = None if self.reason is None else list(self.reason)
        return fields

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Status:
        """Return what :meth:`as_fields` gave."""
        made, reason = fields["made"], fields["reason"]
        return cls(
            **fields
            | {
                "state": State(fields["state"]),
                "made": None if made is None else Made(**made),
                "reason": None if reason is None else tuple(reason),
            }
        )
