"""A crew with its watch, and no server: for tests of what the supervisor does about memory.

The clock is set, the use is set, and the workers' ends of the channels are ours. A worker's number
is one that no process has, unless a test puts a real one in its stead: nothing is signalled that
the test has not started.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from tests.server.test_crew import Yard
from tests.server.test_watch import CEILING_BYTES, MARKS, Gauge

from tonnage.config import load_settings
from tonnage.errors import TonnageError
from tonnage.governor.levels import Level
from tonnage.governor.reclaim import Reclaimed
from tonnage.governor.statistics import NANOSECONDS, WorkerState
from tonnage.server.crew import Member
from tonnage.server.messages import Hello, Ready
from tonnage.server.safeguards import make_safeguards
from tonnage.server.watch import Look, Reading, Watch
from tonnage.units import MIB

S = TypeVar("S", bound="Scene")

# The kernel gives 2**22 at most.
NOBODY = 1 << 30

KILLED = int(signal.SIGKILL)


@dataclass
class Scene(Yard):
    """A crew of two under a limit of 512 MB; sizes are in MB."""

    gauge: Gauge = field(default_factory=Gauge)
    # Whom the next workers are; when these are used up, nobody.
    pids: list[int] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    # The figures of what was told last.
    figures: dict[str, Any] = field(default_factory=dict)
    _given: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.page.use_slots(self.size + 2)
        self.page.header.desired_workers = self.page.header.planned_workers = self.size
        self.watch = Watch(
            self.page, self.gauge, MARKS, CEILING_BYTES, clock=lambda: self.now_seconds
        )
        self.page.header.used_bytes = 100 * MIB

    def clock(self) -> float:
        """Return the time."""
        return self.now_seconds

    def alert(self, kind: str, text: str, fields: dict[str, Any] | None = None) -> None:
        """Take in what people are told."""
        self.told.append((kind, text))
        self.figures = fields or {}

    def start(self) -> list[Member]:
        """Start the workers that are missing, and let each become ready."""
        started = self.crew.fill()
        for member in started:
            self.hello(member)
            self.ready(member)
        return started

    def hello(self, member: Member) -> None:
        """Let *member* say who it is."""
        self._given += 1
        pid = self.pids.pop(0) if self.pids else NOBODY + self._given
        slot = self.page.slots[member.index]
        slot.pid, slot.baseline_bytes = pid, MIB
        self.crew.heard(member, Hello(pid))

    def ready(self, member: Member, *, own_mb: float = 6) -> None:
        """Let *member* accept requests; it holds so much of its own."""
        slot = self.page.slots[member.index]
        slot.state = WorkerState.READY
        slot.heartbeat_nanoseconds = int(self.now_seconds * NANOSECONDS)
        slot.uss_bytes = int(own_mb * MIB)
        self.crew.heard(member, Ready())

    def own(self, index: int, mb: float) -> None:
        """Let the worker of slot *index* hold so many MB since its start."""
        slot = self.page.slots[index]
        slot.held_bytes = int(mb * MIB)
        slot.uss_bytes = slot.held_bytes + 6 * MIB

    def replaced(self) -> list[int]:
        """Return who is being replaced: its successor may start although it still serves."""
        return [each.index for each in self.crew.members.values() if each.is_replaced]

    def messages(self, index: int) -> list[Any]:
        """Return what the worker of slot *index* has been told since this was last asked."""
        return list(self.ends[index].messages())

    def kinds(self, index: int) -> list[str]:
        """Return what kinds of messages these are."""
        return [type(message).__name__ for message in self.messages(index)]


@dataclass
class Whole(Scene):
    """A scene with all the safeguards, wired as in the server."""

    flags: dict[str, str] = field(default_factory=dict)
    reports: Path | None = None
    # What the application has started.
    started: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        safeguards = make_safeguards(
            load_settings(self.flags, {}, Path("/")),
            self.page,
            self.crew,
            self.watch,
            reports=self.reports,
            started_by_workers=lambda: self.started,
            alert=self.alert,
            clock=self.clock,
        )
        self.safeguards = safeguards
        self.keeper, self.brake = safeguards.keeper, safeguards.hold.brake
        self.inquest, self.operator = safeguards.inquest, safeguards.operator
        self.start()
        self.now_seconds += 100

    def ready(self, member: Member, *, own_mb: float = 6) -> None:
        """Let *member* become ready, as the supervisor hears of it."""
        super().ready(member, own_mb=own_mb)
        self.keeper.recycler.heard_ready(member)

    def look(self, used_mb: float, after_seconds: float = 0.1) -> Level:
        """Look when so much is used, have done what is due, and return the level."""
        self.gauge.used_mb = used_mb
        self.now_seconds += after_seconds
        found = self.safeguards.look()
        assert found is not None
        return found.level

    def dies(self, index: int, status: int = KILLED) -> Member:
        """Let the worker of slot *index* end, as the supervisor does with it."""
        member = self.crew.members[index]
        self.inquest.on_death(member, status)
        self.crew.lost(member, status)
        member.channel.close()
        self.watch.forget(index)
        self.keeper.forget(member)
        return member

    def reclaimed(self, index: int, freed_mb: float = 0, **fields: Any) -> None:
        """Let the worker of slot *index* answer that so much came back."""
        freed_bytes = int(freed_mb * MIB)
        reclaimed = Reclaimed(
            freed_bytes=freed_bytes,
            by={"collection": freed_bytes, "allocator": 0},
            cost_seconds=0.02,
            own_bytes=10 * MIB,
            requests=100,
            why="WARNING",
        )
        self.keeper.on_reclaimed(self.crew.members[index], replace(reclaimed, **fields))


def look(
    now_seconds: float,
    used_mb: float,
    readings: dict[int, tuple[int, float]] | None = None,
    *,
    level: Level = Level.OK,
    previous: Level | None = None,
    data_mb: float = 0,
    shared_mb: float = 0,
) -> Look:
    """Return a look: of each slot, the process and its private MB; *data_mb* more are data.

    Each has *shared_mb* of files and shared memory mapped.
    """
    used = int(used_mb * MIB)
    return Look(
        now_seconds=now_seconds,
        level=level,
        previous=level if previous is None else previous,
        used_bytes=used,
        free_bytes=MARKS.limit_bytes - used,
        bytes_per_second=0.0,
        kills=0,
        readings={
            index: Reading(
                pid=pid,
                private_bytes=int(private * MIB),
                shared_bytes=int(shared_mb * MIB),
                data_bytes=int((private + data_mb) * MIB),
            )
            for index, (pid, private) in (readings or {}).items()
        },
    )


@contextmanager
def scene(kind: type[S], **settings: Any) -> Iterator[S]:
    """Yield a scene of that kind, and close its channels afterwards."""
    made = kind(**settings)
    try:
        yield made
    finally:
        for channel in made.channels:
            channel.close()


@contextmanager
def sleepers(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Yield processes that do nothing, to be held in the workers' stead."""
    processes = [subprocess.Popen(["sleep", "60"]) for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def refusal(act: Callable[[], object]) -> str:
    """Return what *act* is refused with."""
    try:
        act()
    except TonnageError as error:
        return str(error)
    raise AssertionError("it was not refused")
