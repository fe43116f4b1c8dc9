"""The foreman: brings up workers, hears what they say, and buries those that have ended.

Which workers there should be is the crew's to know (:mod:`tonnage.server.crew`); what is made of
what they say is others'. That a process has ended is learned from the kernel, and before its
worker is buried all that it had said is heard: the news of both may come in either order.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from tonnage.governor.statistics import NANOSECONDS, STUCK_SECONDS
from tonnage.host.processes import next_ended
from tonnage.jobs.messages import JobAsked, JobCancelled
from tonnage.ops.figures.telling import Counted
from tonnage.server.messages import Ask, Failed, Hello, Ready
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import SharedPage
    from tonnage.ops.alerts import Alerter
    from tonnage.server.crew import Crew, Member
    from tonnage.server.figures import Figuring
    from tonnage.server.frontdesk import FrontDesk
    from tonnage.server.jobs.owner import Jobs
    from tonnage.server.nursery import Nursery
    from tonnage.server.reactor import Reactor
    from tonnage.server.renewal import Renewal
    from tonnage.server.safeguards import Safeguards

logger = logging.getLogger("tonnage.supervisor")


class Foreman:
    """Keeps the crew. Everything it works with is handed in."""

    def __init__(
        self,
        *,
        page: SharedPage,
        reactor: Reactor,
        crew: Crew,
        nursery: Nursery,
        renewal: Renewal,
        safeguards: Safeguards,
        alerter: Alerter | None,
        front: FrontDesk,
        jobs: Jobs,
        figuring: Figuring,
        may_start: Callable[[], bool],
        on_ready: Callable[[], None],
        start_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        """Make one who has nothing to do yet.

        Args:
            page: where each worker has its slot.
            reactor: waits for the workers' messages.
            crew: the workers.
            nursery: has the zygotes.
            renewal: is told of a zygote's end.
            safeguards: are told of what workers say, and of their end.
            alerter: is told of its own process's end.
            front: answers where no worker does.
            figuring: is told what workers have counted, and of their end.
            may_start: whether there is room for another worker.
            jobs: is told what workers want done apart, and of the ends of those processes.
            on_ready: called when a worker has become ready.
            start_seconds: how long a worker may take for that.
            clock: monotonic seconds.
        """
        #: The worker that has shown that the application does not start; its failure says why.
        self.failed_start: Member | None = None
        #: Somebody has asked twice to stop: what is cut short needs no report.
        self.is_in_haste = False
        self._page = page
        self._reactor = reactor
        self._crew = crew
        self._nursery = nursery
        self._renewal = renewal
        self._safeguards = safeguards
        self._alerter = alerter
        self._front = front
        self._jobs = jobs
        self._figuring = figuring
        self._may_start = may_start
        self._on_ready = on_ready
        self._start_seconds = start_seconds
        self._clock = clock

    def fill(self) -> None:
        """Start the workers that are missing, if it is time and there is room."""
        for member in self._crew.fill(self._may_start):
            self._reactor.register(member.channel, partial(self._hear, member))

    def reap(self) -> None:
        """Take note of every process that has ended."""
        had_zygote = self._nursery.zygote is not None
        while (ended := next_ended()) is not None:
            pid, status = ended
            self._hear_out()
            member = self._crew.find(pid)
            if member is not None:
                self._bury(member, status)
            elif not (
                self._jobs.reaped(pid, status) or self._nursery.ended(pid) or self._is_alerter(pid)
            ):
                # As PID 1, or as a "subreaper", we inherit what others leave behind.
                logger.debug("reaped orphan %d", pid)
        if had_zygote and self._nursery.is_missing:
            self._renewal.begin()

    def check(self) -> None:
        """End workers that start for too long; have others answer where all are stuck."""
        now = int(self._clock() * NANOSECONDS)
        self._crew.end_overdue(self._start_seconds)
        header = self._page.header
        awake = self._crew.awake(now, int(STUCK_SECONDS * NANOSECONDS))
        started = now - header.started_nanoseconds > STUCK_SECONDS * NANOSECONDS
        needed = not awake and started and not header.stopping
        self._front.stand_in(needed, [member.channel for member in awake])

    def _is_alerter(self, pid: int) -> bool:
        return self._alerter is not None and self._alerter.ended(pid)

    def _bury(self, member: Member, status: int | None) -> None:
        for_memory = False
        if not self.is_in_haste and (not member.failure or self._crew.has_served):
            for_memory = self._safeguards.inquest.on_death(member, status)
        if for_memory and not self._crew.has_served:
            # The next would as well, and the one after that.
            limit = format_bytes(self._page.header.limit_bytes)
            member.failure = f"it needs more memory to start than there is (the limit is {limit})"
        self._crew.lost(member, status, for_memory=for_memory)
        self._figuring.ended(member.index)
        self._reactor.unregister(member.channel)
        self._jobs.caller_gone(member.channel)
        member.channel.close()
        self._safeguards.forget(member)
        is_first_start = not self._crew.has_served and not self._page.header.stopping
        if member.failure and is_first_start and self.failed_start is None:
            self.failed_start = member

    def _hear_out(self) -> None:
        """Read all that workers have said: one that has ended has said who it was, and why."""
        for member in list(self._crew.members.values()):
            while self._hear(member):
                pass

    def _hear(self, member: Member) -> bool:
        """Act on the next message of *member*; return whether there was one."""
        try:
            received = member.channel.receive()
        except EOFError:
            # The process is ending; how is learned from the kernel.
            self._reactor.unregister(member.channel)
            if member.pid is None:
                self._bury(member, None)
            return False
        if received is None:
            return False
        message, fds = received
        match message:
            case Hello() | Failed():
                self._crew.heard(member, message)
            case Ready():
                self._crew.heard(member, message)
                self._safeguards.on_ready(member)
                self._on_ready()
            case Ask():
                self._front.converse(fds)
            case Counted():
                self._figuring.heard(member.index, message)
            case JobAsked() | JobCancelled():
                self._jobs.on_message(member.channel, message, fds)
            case _:
                self._safeguards.on_message(member, message)
        return True
