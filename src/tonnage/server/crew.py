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
from typing import TYPE_CHECKING, Final

from tonnage.governor.statistics import WorkerState
from tonnage.server.messages import Hello, Ready, Stop
from tonnage.server.postmortem.facts import Kill, KillReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tonnage.governor.page import SharedPage, Slot
    from tonnage.server.messages import OfStart, ToWorker, WorkerChannel

logger = logging.getLogger("tonnage.supervisor")

#: Exit status of a worker whose application did not start.
EXIT_NOT_STARTED: Final = 3

# A worker that lived for less counts as a step of a crash loop.
EARLY_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
# Where a worker may not start yet, it is asked again after this, or when another is ready.
_ASK_AGAIN_SECONDS = 1.0


def respawn_pause_seconds(early_ends: int) -> float:
    """Return how long to wait before the next worker, after *early_ends* early ends in a row.

    0 before the first replacement: a single death is replaced at once. Then 0.5 s, doubling up to
    30 s.
    """
    if early_ends <= 1:
        return 0.0
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** (early_ends - 2), _LONGEST_PAUSE_SECONDS)


@dataclass(slots=True, eq=False)
class Member:
    """One worker, from the moment it was asked for."""

    index: int
    channel: WorkerChannel
    asked_seconds: float
    pid: int | None = None
    is_ready: bool = False
    ready_seconds: float = 0.0
    is_leaving: bool = False
    # A successor may start although this one is still there.
    is_replaced: bool = False
    # That the server itself ended it, and why.
    killed: Kill | None = None
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
        spawn: Callable[[int], WorkerChannel | None],
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
        #: So many have served at once.
        self.most_ready = 0
        self._page = page
        self._spawn = spawn
        self._clock = clock
        self._early_ends = 0
        self._not_before_seconds = 0.0
        self._ask_again_seconds = 0.0
        self._is_stopping = False

    @property
    def is_complete(self) -> bool:
        """Whether as many workers accept requests as there should be."""
        return self._count_ready() >= self.size

    def _count_ready(self) -> int:
        return sum(member.is_ready for member in self.members.values())

    def pids(self) -> set[int]:
        """Return the workers' process ids."""
        return {member.pid for member in self.members.values() if member.pid}

    def programs(self, below: Callable[[int], Iterable[int]], server: int) -> set[int]:
        """Return the processes that workers have started, and all whose parents are gone.

        A worker that has not yet said who it is looks like one of the latter: until it has, only
        those below a worker count.

        Args:
            below: returns the descendants of a process.
            server: the process that all of them descend from.
        """
        is_sure = all(member.pid for member in self.members.values())
        roots = [server] if is_sure else sorted(self.pids())
        return {pid for root in roots for pid in below(root)} - self.pids()

    def next_spawn_seconds(self) -> float | None:
        """Return when a worker is to be started; None if none is missing."""
        places = sum(not member.is_replaced for member in self.members.values())
        if self._is_stopping or places >= self.size or len(self.members) >= len(self._page.slots):
            return None
        return max(self._not_before_seconds, self._ask_again_seconds)

    def resize(self, workers: int) -> None:
        """Have so many workers from now on; who leaves is others' to say."""
        self.size = self._page.header.desired_workers = workers

    def fill(self, may_start: Callable[[], bool] = lambda: True) -> list[Member]:
        """Start the workers that are missing, if it is time; return them.

        *may_start* is asked before each; if it says no, again a second later.
        """
        started: list[Member] = []
        now = self._clock()
        while (due := self.next_spawn_seconds()) is not None and now >= due:
            if not may_start():
                self._ask_again_seconds = now + _ASK_AGAIN_SECONDS
                break
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

    def heard(self, member: Member, message: OfStart) -> None:
        """Note what a worker says of its start."""
        if isinstance(message, Hello):
            member.pid = message.pid
        elif isinstance(message, Ready):
            member.is_ready = self.has_served = True
            member.ready_seconds = self._clock()
            self.most_ready = max(self.most_ready, self._count_ready())
            self._ask_again_seconds = 0.0
        else:
            member.failure, member.is_mistaken = message.error, message.is_mistaken

    def find(self, pid: int) -> Member | None:
        """Return the worker that is process *pid*, if there is one."""
        return next((each for each in self.members.values() if each.pid == pid), None)

    def lost(self, member: Member, status: int | None, *, for_memory: bool = False) -> None:
        """Forget *member*, wipe its slot, and decide when its successor starts.

        Args:
            member: the worker.
            status: as ``os.waitpid`` has it; None where that was not learned.
            for_memory: it ended for want of memory: where a request took it, that is no crash loop,
                and others want to be served; where the start did, the next would as well.
        """
        how = "ended before it began"
        if status is not None:
            how = _describe_end(status, has_served=member.is_ready)
        now = self._clock()
        age = now - member.asked_seconds
        self.members.pop(member.index, None)
        self._keep_counts(self._page.slots[member.index])
        self._page.slots[member.index].wipe()
        if self._is_stopping or member.is_leaving:
            logger.debug("worker %d (pid %s) %s", member.index, member.pid, how)
            return
        if member.failure and not self.has_served:
            return  # the first start has failed: whoever asked for it says so
        if not for_memory or not member.is_ready:
            self._early_ends = self._early_ends + 1 if age < EARLY_SECONDS else 1
        pause = 0.0 if for_memory and member.is_ready else respawn_pause_seconds(self._early_ends)
        self._not_before_seconds = now + pause
        why = f" ({member.failure})" if member.failure else ""
        when = f"in {pause:g} s" if pause else "now"
        # That it ended is told by whoever reports on it: this is what follows.
        logger.info(
            "worker %d (pid %s) %s after %.1f s%s; a new one starts %s",
            member.index,
            member.pid,
            how,
            age,
            why,
            when,
        )
        if pause:
            logger.error(
                "workers have ended early %d times in a row: see the messages above for the cause",
                self._early_ends,
            )

    def _keep_counts(self, slot: Slot) -> None:
        """Keep what a worker that has ended had counted, so that the server's counts never fall."""
        header = self._page.header
        header.ended_requests += max(0, slot.requests)
        header.ended_refused += max(0, slot.refused)
        header.ended_waited += max(0, slot.waited)
        header.ended_memory_errors += max(0, slot.memory_errors)

    def stop(self) -> None:
        """Ask every worker to finish what it has begun and end, and start no more."""
        self._is_stopping = True
        for member in self.members.values():
            self.dismiss(member)

    def dismiss(self, member: Member) -> None:
        """Ask *member* to finish what it has begun and end."""
        member.is_leaving = True
        # One that is still importing does not read its channel.
        told = member.channel.send(Stop()) and member.is_ready
        if not told and member.pid:
            _signal(member.pid, signal.SIGTERM)

    def end(self, member: Member, reason: KillReason) -> None:
        """End *member* at once; its report will say that it was us, and for which *reason*."""
        member.killed = Kill(reason)
        if member.pid:
            _signal(member.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End every worker at once, since the time to stop is up."""
        for member in self.members.values():
            self.end(member, KillReason.STOP_DEADLINE)

    def tell(self, message: ToWorker) -> int:
        """Send *message* to every worker that serves; return how many got it."""
        return sum(member.channel.send(message) for member in self.serving())

    def serving(self) -> list[Member]:
        """Return the workers that are ready and have not been asked to end."""
        members = self.members.values()
        return [member for member in members if member.is_ready and not member.is_leaving]

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
                self.end(member, KillReason.OVERDUE_START)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _describe_end(status: int, *, has_served: bool) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == EXIT_NOT_STARTED and not has_served:
        return "did not start"
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
