"""What the brake holds: a worker, or programs of the application; and what it has ended.

Just that; :mod:`tonnage.server.braking` acts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from tonnage.host import reins
from tonnage.server.postmortem.facts import Kill, KillReason

if TYPE_CHECKING:
    from tonnage.governor.brake import Danger, Mover
    from tonnage.server.programs import Started


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that was ended, and why."""

    started: Started
    kill: Kill


@dataclass(frozen=True, slots=True)
class Mark:
    """What a process held before it grew, when that was, and when it was stopped last."""

    bytes: int
    seconds: float
    stopped_seconds: float


@dataclass(slots=True)
class Held:
    """What is stopped just now, or goes on while it is looked at all the time.

    Attributes:
        mover: what it was when it was stopped.
        since_seconds: since when it has been stopped, or the last of its programs was ended.
        danger: what threatened.
        free_bytes: what was free then.
        marks: its processes, each with what it held before it grew.
        size_bytes: on a leash: what they held together when they last grew.
        grown_seconds: on a leash: when that was.
        leashed_seconds: since when it has been on a leash.
        waiting: programs that stay stopped while one is on a leash.
        ending: the program among them that was ended last, until it is gone.
    """

    mover: Mover
    since_seconds: float
    danger: Danger
    free_bytes: int
    marks: dict[int, Mark] = field(default_factory=dict)
    size_bytes: int = 0
    grown_seconds: float = 0.0
    leashed_seconds: float = 0.0
    waiting: dict[int, Mark] = field(default_factory=dict)
    ending: int | None = None

    @property
    def name(self) -> str:
        """What it is called in the log; there is one process at least."""
        if self.mover.index is not None:
            return f"worker {self.mover.index} (pid {self.mover.pid})"
        if len(self.marks) > 1:
            return f"{len(self.marks)} processes started by the application"
        return f"process {next(iter(self.marks))}, started by the application"

    def resume(self) -> None:
        """Let its processes go on, but those that wait for one."""
        for pid in self.marks:
            reins.resume(pid)

    def release(self) -> None:
        """Let all go on."""
        self.resume()
        for pid in self.waiting:
            reins.resume(pid)

    def one(self, pid: int, bytes_per_second: float) -> Held:
        """Return what is held where program *pid* goes on, and the others wait for it."""
        waiting = {each: mark for each, mark in self.marks.items() if each != pid}
        return replace(
            self,
            mover=replace(self.mover, pid=pid, bytes_per_second=bytes_per_second),
            marks={pid: self.marks[pid]},
            waiting=waiting,
        )

    def as_kill(self, mark: Mark, size_bytes: int) -> Kill:
        """Return the figures for the report on the end of who has come from *mark* to this size."""
        kind: Literal["private", "shared"] = "shared" if self.danger.outside else "private"
        return Kill(
            KillReason.BRAKE,
            grown_bytes=max(0, size_bytes - mark.bytes),
            grown_seconds=max(0.0, mark.stopped_seconds - mark.seconds),
            memory=kind if self.mover.index is not None else "",
            room_seconds=self.danger.seconds,
        )
