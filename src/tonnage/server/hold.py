"""What is measured and held at each look: memory in use, the workers' fuses, the brake.

    look → the fuses follow → the brake acts

The part that cannot wait. What takes its time (reclaim, recycling, telling people) follows in
:mod:`tonnage.server.keeper`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tonnage.server.braking import Brake
from tonnage.server.fuses import Fuses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tonnage.governor.page import SharedPage
    from tonnage.server.watch import Look, Watch
    from tonnage.settings import MemorySettings

# While a process is stopped, or on a leash.
_BRAKING_SECONDS: Final = 0.005


class Hold:
    """The watch, and what holds processes at once as it demands."""

    def __init__(self, watch: Watch, fuses: Fuses, brake: Brake) -> None:
        self.watch = watch
        self.fuses = fuses
        self.brake = brake

    def look(self, *, spared: int | None) -> Look | None:
        """Look, and hold who is to be held; return None where use cannot be read.

        *spared*: the slot whose worker has no fuse for now.
        """
        look = self.watch.look()
        if look is not None:
            room_bytes = look.free_bytes - look.owed_bytes - self.watch.floor_bytes
            self.fuses.follow(
                look.readings,
                room_bytes,
                look.now_seconds,
                claimed_bytes=look.owed_bytes,
                spared=spared,
            )
            self.brake.act(look)
        return look

    def next_look_seconds(self) -> float:
        """Return how long to wait before the next look."""
        usual = self.watch.next_look_seconds()
        return min(usual, _BRAKING_SECONDS) if self.brake.is_on else usual


def make_hold(
    settings: MemorySettings,
    page: SharedPage,
    watch: Watch,
    *,
    others: Callable[[], Iterable[int]],
    shrink: Callable[[int], object],
    clock: Callable[[], float],
) -> Hold:
    """Make the fuses and the brake, and join them to *watch*.

    Args:
        settings: what the user wants.
        page: the shared page.
        watch: who samples.
        others: lists our processes that are neither the server's own nor workers.
        shrink: asks all workers but that of one slot (-1: none) to give memory back.
        clock: monotonic seconds.
    """
    fuses = Fuses(page, worker_memory_bytes=settings.worker_memory_bytes, enabled=settings.fuse)
    return Hold(watch, fuses, Brake(page, watch, fuses, others=others, shrink=shrink, clock=clock))
