"""What the brake holds: a worker, or programs of the application; and what it has ended.

Just that; :mod:`tonnage.server.braking` acts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tonnage.host import reins
from tonnage.server.facts import Kill, KillReason

if TYPE_CHECKING:
    from tonnage.governor.brake import Danger, Mover
    from tonnage.server.programs import Started


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that was ended, and why."""

    started: Started
    kill: Kill


@dataclass(slots=True)
class Held:
    """What is stopped just now, or goes on while it is looked at all the time.

    Attributes:
        mover: what it was when it was stopped.
        since_seconds: since when it has been stopped; on a leash: since when it has not grown.
        danger: what threatened.
        free_bytes: what was free then.
        before_bytes: its processes, each with what it held before it grew.
        size_bytes: on a leash: what they held together when they last grew.
        leashed_seconds: since when it has been on a leash.
        waiting: programs that stay stopped while one is on a leash, with what they held before.
        ending: the program among them that was ended last, until it is gone.
    """

    mover: Mover
    since_seconds: float
    danger: Danger
    free_bytes: int
    before_bytes: dict[int, int] = field(default_factory=dict)
    size_bytes: int = 0
    leashed_seconds: float = 0.0
    waiting: dict[int, int] = field(default_factory=dict)
    ending: int | None = None

    @property
    def name(self) -> str:
        """What it is called in the log; there is one process at least."""
        if self.mover.index is not None:
            return f"worker {self.mover.index} (pid {self.mover.pid})"
        if len(self.before_bytes) > 1:
            return f"{len(self.before_bytes)} processes started by the application"
        return f"process {next(iter(self.before_bytes))}, started by the application"

    def resume(self) -> None:
        """Let its processes go on, but those that wait for one."""
        for pid in self.before_bytes:
            reins.resume(pid)

    def release(self) -> None:
        """Let all go on."""
        self.resume()
        for pid in self.waiting:
            reins.resume(pid)

    def one(self, pid: int, bytes_per_second: float) -> Held:
        """Return what is held where program *pid* goes on, and the others wait for it."""
        waiting = {each: before for each, before in self.before_bytes.items() if each != pid}
        return replace(
            self,
            mover=replace(self.mover, pid=pid, bytes_per_second=bytes_per_second),
            before_bytes={pid: self.before_bytes[pid]},
            waiting=waiting,
        )

    def as_kill(self, grown_bytes: int) -> Kill:
        """Return the figures for the report on an end; *grown_bytes*: what that one grew by."""
        return Kill(
            KillReason.BRAKE,
            grown_bytes=grown_bytes,
            grown_seconds=grown_bytes / max(self.mover.bytes_per_second, 1.0),
            room_seconds=self.danger.seconds,
        )
