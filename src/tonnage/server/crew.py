"""The crew: which workers there are, and which there should be.

Owns the workers' records and their channels. A worker that ends without having been asked is
replaced; one that keeps ending early is replaced ever later (:func:`respawn_pause_seconds`). Does
not read memory (:mod:`tonnage.server.watch`), and waits for nothing.
"""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tonnage.governor.statistics import WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import SharedPage
    from tonnage.server.channel import Channel

logger = logging.getLogger("tonnage.supervisor")

#: Exit status of a worker whose application did not start.
EXIT_NOT_STARTED: Final = 3

# A worker that lived for less counts as a step of a crash loop.
EARLY_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


def respawn_pause_seconds(early_ends: int) -> float:
    """Return how long to wait before the next worker, after *early_ends* early ends in a row.

    None before the first replacement: one worker that dies is replaced at once. Then 0.5 s,
    doubling up to 30 s.
    """
    if early_ends <= 1:
        return 0.0
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** (early_ends - 2), _LONGEST_PAUSE_SECONDS)


@dataclass(slots=True, eq=False)
class Member:
    """One worker, from the moment it was asked for."""

    index: int
    channel: Channel
    asked_seconds: float
    pid: int | None = None
    is_ready: bool = False
    is_leaving: bool = False
    failure: str | None = None
    # The failure is a mistake in the target's name, and no error of the application's.
    is_mistaken: bool = False


class Crew:
    """The workers. At most one for each slot of the page."""

    def __init__(
        self,
        page: SharedPage,
        size: int,
        *,
        spawn: Callable[[int], Channel | None],
        clock: Callable[[], float],
    ) -> None:
        """Make an empty crew.

        Args:
            page: where each worker has its slot.
            size: how many workers there should be.
            spawn: starts a worker for a slot and returns the channel to it; None if it cannot.
            clock: monotonic seconds.
        """
        self.size = size
        self.members: dict[int, Member] = {}
        self.has_served = False
        self._page = page
        self._spawn = spawn
        self._clock = clock
        self._early_ends = 0
        self._not_before_seconds = 0.0
        self._is_stopping = False

    @property
    def is_complete(self) -> bool:
        """Whether as many workers accept requests as there should be."""
        return sum(member.is_ready for member in self.members.values()) >= self.size

    def pids(self) -> list[int]:
        """Return the workers' process ids."""
        return [member.pid for member in self.members.values() if member.pid]

    def next_spawn_seconds(self) -> float | None:
        """Return when a worker is to be started; None if none is missing."""
        if self._is_stopping or len(self.members) >= self.size:
            return None
        return self._not_before_seconds

    def fill(self) -> list[Member]:
        """Start the workers that are missing, if it is time; return them."""
        started: list[Member] = []
        now = self._clock()
        while (due := self.next_spawn_seconds()) is not None and now >= due:
            index = next(i for i in range(len(self._page.slots)) if i not in self.members)
            channel = self._spawn(index)
            if channel is None:
                # No zygote just now; the supervisor is starting another.
                self._not_before_seconds = now + _FIRST_PAUSE_SECONDS
                break
            channel.setblocking(False)
            started.append(Member(index, channel, now))
            self.members[index] = started[-1]
        return started

    def heard(self, member: Member, message: dict[str, Any]) -> None:
        """Note what a worker says of itself."""
        kind = message["kind"]
        if kind == "hello":
            member.pid = message["pid"]
        elif kind == "ready":
            member.is_ready = self.has_served = True
        elif kind == "failed":
            member.failure, member.is_mistaken = message["error"], message["usage"]

    def ended(self, pid: int, status: int) -> Member | None:
        """Note that process *pid* ended; return the worker it was, if it was one."""
        member = next((each for each in self.members.values() if each.pid == pid), None)
        if member is not None:
            self.lost(member, _describe_end(status))
        return member

    def lost(self, member: Member, how: str) -> None:
        """Forget *member*, wipe its slot, and decide when its successor starts."""
        now = self._clock()
        age = now - member.asked_seconds
        self.members.pop(member.index, None)
        self._page.slots[member.index].wipe()
        if self._is_stopping or member.is_leaving:
            logger.debug("worker %d (pid %s) %s", member.index, member.pid, how)
            return
        if member.failure and not self.has_served:
            return  # the first start has failed: whoever asked for it says so
        self._early_ends = self._early_ends + 1 if age < EARLY_SECONDS else 1
        pause = respawn_pause_seconds(self._early_ends)
        self._not_before_seconds = now + pause
        why = f" ({member.failure})" if member.failure else ""
        when = f"in {pause:g} s" if pause else "now"
        logger.error(
            "worker %d (pid %s) %s after %.1f s%s; a new one starts %s",
            *(member.index, member.pid, how, age, why, when),
        )
        if pause:
            logger.error(
                "workers have ended early %d times in a row: see the messages above for the cause",
                self._early_ends,
            )

    def stop(self) -> None:
        """Ask every worker to finish what it has begun and end, and start no more."""
        self._is_stopping = True
        self.retire()

    def retire(self) -> None:
        """Ask every worker to finish what it has begun and end; successors start after that."""
        for member in self.members.values():
            member.is_leaving = True
            # One that is still importing does not read its channel.
            told = member.channel.send("stop") and member.is_ready
            if not told and member.pid:
                _signal(member.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End every worker at once."""
        for pid in self.pids():
            _signal(pid, signal.SIGKILL)

    def tell(self, kind: str) -> int:
        """Send a message without fields to every ready worker; return how many got it."""
        ready = [member for member in self.members.values() if member.is_ready]
        return sum(member.channel.send(kind) for member in ready)

    def awake(self, now_nanoseconds: int, after_nanoseconds: int) -> list[Member]:
        """Return the ready workers whose event loop has turned of late, the liveliest first."""
        beats = {
            slot.index: slot.heartbeat_nanoseconds
            for slot in self._page.live_slots()
            if slot.state == WorkerState.READY
            and now_nanoseconds - slot.heartbeat_nanoseconds <= after_nanoseconds
        }
        found = [self.members[index] for index in beats if index in self.members]
        return sorted(found, key=lambda member: beats[member.index], reverse=True)

    def end_overdue(self, limit_seconds: float) -> None:
        """End workers that have not become ready in time; their successors come later."""
        now = self._clock()
        for member in self.members.values():
            late = not member.is_ready and now - member.asked_seconds > limit_seconds
            if late and member.failure is None and member.pid is not None:
                member.failure = f"it was not ready within {limit_seconds:g} s, see --start-seconds"
                _signal(member.pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _describe_end(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == EXIT_NOT_STARTED:
        return "did not start"
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
