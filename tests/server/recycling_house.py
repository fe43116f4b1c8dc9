"""A crew of two and who replaces its workers, for the tests of recycling."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.server.scene import Scene

from tonnage.governor.levels import Level
from tonnage.governor.recycle import Situation
from tonnage.server.crew import Member
from tonnage.server.recycling import Collected, Recycler
from tonnage.settings import RecyclingSettings
from tonnage.units import MIB

DRAIN_SECONDS = 30.0
START_SECONDS = 60.0
AMPLE_MB = 300
TIGHT_MB = 20
# Reclaim was tried, and the level stays up.
STUCK = Situation(Level.WARNING, 5.0, 512 * MIB, 430 * MIB, 200 * MIB, reclaimed=True)
CALM = Situation(Level.OK, 60.0, 512 * MIB, 100 * MIB, 200 * MIB, reclaimed=False)


@dataclass
class House(Scene):
    """A crew of two, and who replaces its workers."""

    recycle: bool = True
    max_requests: int = 0
    lifetime_seconds: float = 0.0
    draws: list[float] = field(default_factory=list)
    situation: Situation = CALM
    free_mb: float = AMPLE_MB
    spared: int | None = None
    leaks: dict[int, float] = field(default_factory=dict)
    collected_mb: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.recycler = Recycler(
            self.page,
            self.crew,
            RecyclingSettings(
                recycle=self.recycle,
                recycle_above_bytes=None,
                max_requests=self.max_requests,
                max_lifetime_seconds=self.lifetime_seconds,
            ),
            drain_seconds=DRAIN_SECONDS,
            start_seconds=START_SECONDS,
            alert=self.alert,
            clock=self.clock,
            draw=self.draw,
        )
        self.start()
        self.now_seconds += 100

    def draw(self, most: float) -> float:
        """Return what is set, a share of *most*; else nothing."""
        return most * (self.draws.pop(0) if self.draws else 0.0)

    def act(self) -> None:
        """Let the recycler do what is due."""
        self.recycler.act(
            self.situation,
            int(self.free_mb * MIB),
            leaks=lambda index: self.leaks.get(index, 0.0),
            collected=self.collected,
            spared=self.spared,
        )

    def collected(self, index: int) -> Collected | None:
        """Return what a worker held after a collection just now, if that is set."""
        held_mb = self.collected_mb.get(index)
        if held_mb is None:
            return None
        return Collected(self.now_seconds, int(held_mb * MIB))

    def ready(self, member: Member, *, own_mb: float = 6) -> None:
        """Let *member* become ready, as the supervisor hears of it."""
        super().ready(member, own_mb=own_mb)
        self.recycler.heard_ready(member)

    def dies(self, index: int, status: int = 0) -> Member:
        """Let the worker of slot *index* end, as the supervisor does with it."""
        member = self.crew.members[index]
        self.crew.lost(member, status)
        member.channel.close()
        self.recycler.heard_end(member)
        return member

    def workers(self) -> list[int]:
        """Return the slots of the workers that serve."""
        return sorted(member.index for member in self.crew.serving())

    def replace(self, old: int, successor: int) -> None:
        """Go through a whole replacement of *old*, whose *successor* starts first."""
        self.act()
        assert [member.index for member in self.start()] == [successor]
        self.dies(old)
        self.act()
