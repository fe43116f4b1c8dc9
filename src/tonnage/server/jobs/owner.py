"""The one owner of jobs: takes them from callers, has them run, and answers each caller once.

What is decided, :mod:`tonnage.jobs.line` decides; here it is done. A caller is whoever has sent a
job over its channel: a worker, or any other process. Each job is answered once, that it is refused
or has ended (:mod:`tonnage.jobs.messages`); the result itself goes past us.

Bounds: as many jobs as run and may wait, with a descriptor each; two processes for each slot.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tonnage.governor.levels import Level
from tonnage.jobs.decisions import EndIdle, Hand, Overdue, Overfull, Refusal, Refuse, Start
from tonnage.jobs.line import Line
from tonnage.jobs.messages import Begins, JobAsked, Over
from tonnage.server.jobs.answers import Answers
from tonnage.server.jobs.books import Books
from tonnage.server.jobs.children import GRACE_SECONDS, Children
from tonnage.server.jobs.ends import End, why_refused
from tonnage.server.jobs.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import SharedPage
    from tonnage.jobs.decisions import Action
    from tonnage.jobs.messages import CallerChannel, FromCaller, FromJob
    from tonnage.server.jobs.child import Child
    from tonnage.server.jobs.job import Killed
    from tonnage.server.jobs.spawning import Spawner
    from tonnage.server.reactor import Reactor
    from tonnage.settings import JobSettings

# While a job waits for memory or for a zygote, it is tried so often.
_SOON_SECONDS: Final = 0.02
# A process that never began (its zygote died first) is made anew so often.
_MOST_TRIES: Final = 3


class Jobs:
    """All jobs of this server. Everything it works with is handed in."""

    def __init__(
        self,
        settings: JobSettings,
        *,
        page: SharedPage,
        reactor: Reactor,
        spawner: Spawner,
        claim_kill: Callable[[], bool],
        on_killed: Callable[[Killed], bool],
        clock: Callable[[], float],
    ) -> None:
        """Make an owner of no jobs.

        Args:
            settings: how many may run and wait, and what one may hold that does not say.
            page: where they are accounted for.
            reactor: waits for what processes say.
            spawner: makes processes.
            claim_kill: whether the kernel has just killed a process for want of memory, which is
                then explained.
            on_killed: is told of a process that a signal has ended, not sent by us; returns
                whether it has logged that.
            clock: monotonic seconds.
        """
        self._settings = settings
        self._line = Line(settings.job_slots, settings.job_queue)
        self._header = page.header
        self._clock = clock
        self._books = Books(page, self._line)
        self._answers = Answers(
            page, settings.job_slots, claim_kill=claim_kill, on_killed=on_killed, clock=clock
        )
        self._jobs: dict[int, Job] = {}
        self._children = Children(
            reactor,
            spawner,
            on_message=self._on_child,
            on_never_began=self._on_never_began,
            clock=clock,
        )
        self._numbers = 0
        self._is_stopping = False

    # What callers say.

    def on_message(self, caller: CallerChannel, message: FromCaller, fds: list[int]) -> None:
        """Take in what *caller* says of a job."""
        if isinstance(message, JobAsked):
            self._take_in(caller, message, fds)
        else:
            self._cancel(lambda job: job.caller is caller and job.id == message.id)
        self._act()

    def caller_gone(self, caller: CallerChannel) -> None:
        """End the jobs of *caller*, whose channel is not used any more."""
        theirs = [job for job in self._jobs.values() if job.caller is caller]
        for job in theirs:
            job.caller = None
        self._cancel(lambda job: job in theirs)
        self._act()

    def _take_in(self, caller: CallerChannel, message: JobAsked, fds: list[int]) -> None:
        self._numbers += 1
        call = message.call
        if call.is_usual:
            most_bytes = self._settings.job_memory_bytes
            call = replace(call, memory_bytes=min(call.memory_bytes, most_bytes))
        job = Job(self._numbers, caller, message.id, call, fds[0] if fds else -1)
        never = self._books.why_never(call.memory_bytes)
        if never is not None:
            self._refuse(job, Refusal.NEVER, f"{call.function} cannot run here: {never}")
        elif self._is_stopping:
            self._refuse(job, Refusal.STOPPING, "the server stops")
        elif not fds:
            self._refuse(job, Refusal.QUEUE, "the server has no descriptor left for it")
        else:
            self._jobs[job.number] = job
            self._line.arrive(job.number, call, self._clock())

    def _cancel(self, is_meant: Callable[[Job], bool]) -> None:
        for job in [each for each in self._jobs.values() if is_meant(each)]:
            if job.child is not None:
                self._kill(job.child, "cancelled")
            elif self._line.leave(job.number):
                self._end(job, End("cancelled", "nobody waits for it any more"))

    # What is done.

    def _act(self) -> None:
        """Do what is to be done now."""
        self.read_held_bytes()
        started: list[Start | Hand] = []
        for action in self._line.decide(self._clock(), self._books.room()):
            if isinstance(action, Start | Hand):
                started.append(action)
            else:
                self._do(action)
        # Published first, then looked at: two who take the same room never both keep it.
        while not self._books.publish() and started:
            self._line.put_back(started.pop())
        for starting in started:
            self._begin(starting)
        if started:
            self._books.publish()

    def _do(self, action: Action) -> None:
        if isinstance(action, Refuse):
            job = self._jobs.pop(action.job)
            waits_for_memory = bool(self._header.jobs_head_nanoseconds)
            self._refuse(job, action.reason, why_refused(job.call, action.reason, waits_for_memory))
        elif isinstance(action, Overdue):
            self._kill(self._children[action.child], "deadline")
        elif isinstance(action, Overfull):
            child = self._children[action.child]
            child.held = child.holding.describe() if child.holding is not None else ""
            self._kill(child, "memory")
        elif isinstance(action, EndIdle):
            self._children.retire(self._children[action.child])

    def _begin(self, action: Start | Hand) -> None:
        job = self._jobs[action.job]
        if isinstance(action, Hand):
            self._hand(job, self._children[action.child], action)
            return
        child = self._children.spawn(action.child, job.call, job.data)
        if child is None:
            self._line.put_back(action)
            return
        job.child = child
        job.tries += 1
        if child.pid is not None:
            job.close()
        self._answers.tally.started(job.call, child.pid)

    def _hand(self, job: Job, child: Child, action: Hand) -> None:
        if not child.channel.send(job.call, fds=(job.data,)):
            # It has just ended: that is heard of next.
            self._line.put_back(action)
            self._line.leaves(child.number)
            return
        job.child = child
        job.close()
        child.said = None
        self._answers.tally.started(job.call, child.pid)
        job.begun_seconds = self._clock()

    def _kill(self, child: Child, why: str) -> None:
        child.killed = child.killed or why
        self._line.leaves(child.number)
        child.kill()

    # What processes say.

    def _on_child(self, child: Child, message: FromJob) -> None:
        job = self._job_of(child)
        if isinstance(message, Over):
            child.said = message
            if job is not None:
                self._end(job, self._answers.judge(job, child, None))
            self._rest(child, is_idle=message.is_idle)
        else:
            child.is_process(message.pid)
            if job is not None:
                job.close()
            if child.killed:
                child.kill()
            if isinstance(message, Begins):
                self._on_begins(child, job)
        self._act()

    def _on_begins(self, child: Child, job: Job | None) -> None:
        child.settled()
        if job is not None and not child.killed:
            job.begun_seconds = self._clock()
            self._line.begun(child.number, job.begun_seconds)

    def _rest(self, child: Child, *, is_idle: bool) -> None:
        """Have *child*, whose job is over, wait for the next, or end."""
        if is_idle and not child.killed:
            self._line.idles(child.number, self._clock())
            if self._children.is_stale(child) or self._is_stopping:
                self._line.leaves(child.number)
                self._children.retire(child)
        elif not is_idle:
            child.kill_at = self._clock() + GRACE_SECONDS
            self._line.leaves(child.number)

    def _on_never_began(self, child: Child) -> None:
        """Make the process anew that never was, since its zygote died first."""
        job = self._job_of(child)
        if job is not None and not child.killed and job.tries < _MOST_TRIES:
            job.child = None
            self._line.put_back(Start(job.number, child.number))
        self._bury(child, None)

    def reaped(self, pid: int, status: int) -> bool:
        """Note that process *pid* has ended; return whether it was one of ours."""
        child = self._children.ended(pid)
        if child is None:
            return False
        self._bury(child, status)
        return True

    def _bury(self, child: Child, status: int | None) -> None:
        job = self._job_of(child)
        if job is not None:
            self._end(job, self._answers.judge(job, child, status))
        self._children.remove(child)
        self._line.gone(child.number)
        self._act()

    # What callers are told.

    def _end(self, job: Job, end: End) -> None:
        self._jobs.pop(job.number, None)
        self._answers.ended(job, end)

    def _refuse(self, job: Job, reason: Refusal, text: str) -> None:
        self._answers.refused(job, reason, text, self._line)

    def _job_of(self, child: Child) -> Job | None:
        return next((job for job in self._jobs.values() if job.child is child), None)

    # What goes on by itself.

    def read_held_bytes(self) -> int:
        """Read what all processes hold, and return the sum."""
        for child in self._children:
            seat = self._line.seats.get(child.number)
            if seat is not None:
                seat.held_bytes = child.held_bytes()
                if seat.is_overfull and not seat.is_leaving:
                    # It is about to be ended for that: so this has to be exact.
                    seat.held_bytes = child.held_bytes(exactly=True)
        self._header.jobs_held_bytes = held_bytes = self._line.held_bytes
        return held_bytes

    def tend(self) -> None:
        """Do what is due by the clock, or since memory, zygote or code have changed."""
        if not self._children and not self._jobs:
            return
        for child in self._children:
            seat = self._line.seats.get(child.number)
            if seat is not None and seat.is_idle and self._children.is_stale(child):
                self._line.leaves(child.number)
                self._children.retire(child)
        self._children.tend(is_pressed=self._header.level >= Level.WARNING)
        if self._header.stopping and not self._children:
            self._refuse_all("the server stops")
        self._act()

    def next_seconds(self) -> float | None:
        """Return when :meth:`tend` is due; None: only after something else has happened."""
        due = [self._line.next_seconds(), self._children.next_seconds()]
        if self._line.waiting and self._line.running < self._settings.job_slots:
            due.append(self._clock() + _SOON_SECONDS)
        return min((each for each in due if each is not None), default=None)

    def renew(self) -> None:
        """End idle processes: they may have code that is not the newest."""
        self._children.renew()
        self.tend()

    def pids(self) -> set[int]:
        """Return the processes of jobs, not those that they have started."""
        return self._children.pids()

    def stop(self) -> None:
        """End all jobs at once, and take no more."""
        self._is_stopping = True
        self._refuse_all("the server stops")
        for child in self._children:
            self._kill(child, "stopping")

    def _refuse_all(self, text: str) -> None:
        """Refuse all that wait."""
        for job in [each for each in self._jobs.values() if each.child is None]:
            self._line.leave(job.number)
            del self._jobs[job.number]
            self._refuse(job, Refusal.STOPPING, text)
