"""Asking workers to give memory back: one wish at a time for each.

A worker in a blocking call reads nothing, and would find all that it was asked for meanwhile
waiting after that: collection after collection. So it is asked again only once it has answered, or
for a worse level. Does not decide when to ask, nor whom (:mod:`tonnage.server.rounds`,
:mod:`tonnage.server.keeper`, :mod:`tonnage.server.leaks.following`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.server.messages import Reclaim

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.levels import Level
    from tonnage.server.crew import Member

# After so long an answer counts as lost: the channel may have been full.
_LOST_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a worker was asked for last, and has not answered."""

    level: Level
    asked_seconds: float


class Asking:
    """What was asked of whom. One entry for each worker at most."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wishes: dict[Member, _Wish] = {}

    def ask(self, member: Member, level: Level, need_bytes: int, why: str) -> bool:
        """Ask *member* to give memory back, unless that was done and is not answered yet.

        Args:
            member: the worker.
            level: how much is called for.
            need_bytes: its part of what has to go.
            why: a few words for the log.

        Returns:
            Whether an answer can be awaited: to this wish or an earlier one.
        """
        now, last = self._clock(), self._wishes.get(member)
        if last is not None and last.level >= level and now - last.asked_seconds < _LOST_SECONDS:
            return True
        if not member.channel.send(Reclaim(level, need_bytes, why)):
            return False
        self._wishes[member] = _Wish(level, now)
        return True

    def settle(self, member: Member) -> None:
        """Note that *member* has answered, or ended."""
        self._wishes.pop(member, None)
