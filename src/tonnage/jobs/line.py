"""The line of jobs: which one starts, waits, is refused or is ended. Decided without I/O.

Promises, whatever comes in whatever order:

- no more jobs run at once than there are slots, and each slot is taken until its process is gone;
- a job starts only where its memory fits into what is free at that moment;
- no more jobs wait than the queue holds, none longer than it may, and first come is first served:
  a job that fits does not pass one that does not, which would otherwise never find its memory free;
- a job that holds more than it may, with all that it has started, is ended;
- idle processes, kept warm for the next call of their function, are no more than there are slots,
  and are ended for a job that needs their memory.

Does not cover: what memory is free (:mod:`tonnage.server.jobs.books`), and doing what is decided
(:mod:`tonnage.server.jobs.owner`). What runs longest of all is bounded by each call's time-out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.jobs.decisions import EndIdle, Hand, Overdue, Overfull, Refusal, Refuse, Start
from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tonnage.jobs.call import Call
    from tonnage.jobs.decisions import Action, Room

#: How long a new process may take until its function begins: it may have to import.
START_SECONDS: Final = 60.0
#: For a request that has waited so long for memory idle processes are ended. Most wait for a moment
#: only, until those before them have shown what they take, and a model is worth more than that.
PATIENCE_SECONDS: Final = 0.25
#: What a job may hold beyond its memory before it is ended: what it had reserved before it began
#: and touches only now, and its last words. Usually an allocation fails in it long before.
SLACK_BYTES: Final = 32 * MIB


@dataclass(slots=True)
class _Waiting:
    job: int
    call: Call
    arrived_seconds: float
    # It has yet to be tried: only then is the clock asked, since it may not want to wait at all.
    is_new: bool = True


@dataclass(slots=True)
class Seat:
    """A process: the job that it runs, if any, and what it holds and has been promised."""

    call: Call
    job: int | None
    arrived_seconds: float
    held_bytes: int = 0
    # Until when its job may run, or until when it may be idle.
    until_seconds: float = 0.0
    # It has been told to end, or has ended its job and itself: nothing more is decided on it.
    is_leaving: bool = False

    @property
    def is_idle(self) -> bool:
        """Whether it waits for its next call."""
        return self.job is None and not self.is_leaving

    @property
    def is_overfull(self) -> bool:
        """Whether it holds more than its job may."""
        return self.job is not None and self.held_bytes > self.call.memory_bytes + SLACK_BYTES

    @property
    def committed_bytes(self) -> int:
        """What it may come to: all that its job was promised; of an idle one, what it holds."""
        if self.job is None:
            return self.held_bytes
        return max(self.call.memory_bytes, self.held_bytes)


class Line:
    """The jobs that wait, and the processes, of which there are at most two for each slot."""

    def __init__(self, slots: int, queue: int) -> None:
        """Make an empty line.

        Args:
            slots: how many jobs may run at once.
            queue: how many may wait.
        """
        self.seats: dict[int, Seat] = {}
        self._slots = slots
        self._queue = queue
        self._waiting: list[_Waiting] = []
        self._children = 0
        # The first job waits for memory, and for nothing else.
        self._waits_for_room = False

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many slots are taken."""
        return sum(seat.job is not None for seat in self.seats.values())

    @property
    def idle(self) -> int:
        """How many processes wait for their next call."""
        return sum(seat.is_idle for seat in self.seats.values())

    @property
    def committed_bytes(self) -> int:
        """What all processes may come to hold."""
        return sum(seat.committed_bytes for seat in self.seats.values())

    @property
    def held_bytes(self) -> int:
        """What all processes hold."""
        return sum(seat.held_bytes for seat in self.seats.values())

    @property
    def head_since_seconds(self) -> float | None:
        """Since when the first job has waited, where it waits for memory; None: none does."""
        return self._waiting[0].arrived_seconds if self._waits_for_room and self._waiting else None

    # What happens.

    def arrive(self, job: int, call: Call, now_seconds: float) -> None:
        """Take *job* into the line; the next decision says whether it may wait."""
        self._waiting.append(_Waiting(job, call, now_seconds))

    def leave(self, job: int) -> bool:
        """Take *job* out of the line; return False if it does not wait."""
        before = len(self._waiting)
        self._waiting = [each for each in self._waiting if each.job != job]
        return len(self._waiting) < before

    def begun(self, child: int, now_seconds: float) -> None:
        """Note that the job of *child* has begun: its time counts from now."""
        seat = self.seats[child]
        seat.until_seconds = now_seconds + seat.call.timeout_seconds

    def idles(self, child: int, now_seconds: float) -> None:
        """Note that *child* is done with its job and waits for the next."""
        seat = self.seats[child]
        seat.job = None
        seat.until_seconds = now_seconds + seat.call.keep_warm_seconds

    def leaves(self, child: int) -> None:
        """Note that *child* is about to end; it keeps its slot until it is gone."""
        self.seats[child].is_leaving = True

    def gone(self, child: int) -> None:
        """Note that *child* has ended, and what it held is free."""
        self.seats.pop(child, None)

    def put_back(self, action: Start | Hand) -> None:
        """Take *action* back: its job is the first again that waits, and its process idle or none.

        An idle one is ended next: what it holds is wanted.
        """
        seat = self.seats.pop(action.child)
        self._waiting.insert(0, _Waiting(action.job, seat.call, seat.arrived_seconds, False))
        if isinstance(action, Hand):
            seat.job, seat.until_seconds = None, seat.arrived_seconds
            self.seats[action.child] = seat

    # What follows.

    def decide(self, now_seconds: float, room: Room) -> list[Action]:
        """Return what is to be done now; the line itself has been changed accordingly."""
        actions: list[Action] = [
            *self._refuse(now_seconds),
            *self._end_overdue(now_seconds),
            *self._end_overfull(),
        ]
        self._waits_for_room = False
        free_bytes = room.free_bytes
        while self._waiting and not self._is_full:
            action = self._next(free_bytes, room)
            if action is None:
                self._waits_for_room = True
                break
            free_bytes -= self._place(action, now_seconds)
            actions.append(action)
        for each in self._waiting:
            each.is_new = False
        actions += self._refuse(now_seconds)
        while len(self._waiting) > self._queue:
            actions.append(Refuse(self._waiting.pop().job, Refusal.QUEUE))
        self._waits_for_room = self._waits_for_room and bool(self._waiting)
        actions += self._end_idle(now_seconds, room, free_bytes)
        return actions

    def free_in_seconds(self, now_seconds: float, usual_seconds: float) -> float:
        """Return in how long about a slot comes free; 0 where one is.

        After *usual_seconds* of its job; one that has run for longer is known by its end only.
        """
        if not self._is_full:
            return 0.0
        left = []
        for seat in self.seats.values():
            if seat.job is not None:
                until_end = max(0.0, seat.until_seconds - now_seconds)
                ran = max(0.0, seat.call.timeout_seconds - until_end)
                left.append(usual_seconds - ran if ran < usual_seconds else until_end)
        return min(left, default=0.0)

    def next_seconds(self) -> float | None:
        """Return when something is due by the clock alone; None: nothing is."""
        due = [each.arrived_seconds + each.call.wait_seconds for each in self._waiting]
        due += [seat.until_seconds for seat in self.seats.values() if not seat.is_leaving]
        return min(due, default=None)

    @property
    def _is_full(self) -> bool:
        return self.running >= self._slots

    def _refuse(self, now: float) -> Iterator[Refuse]:
        for each in list(self._waiting):
            if not each.is_new and now - each.arrived_seconds >= each.call.wait_seconds:
                self._waiting.remove(each)
                yield Refuse(each.job, Refusal.WAIT)

    def _end_overdue(self, now: float) -> Iterator[Overdue]:
        for child, seat in self.seats.items():
            if seat.job is not None and not seat.is_leaving and now >= seat.until_seconds:
                seat.is_leaving = True
                yield Overdue(child)

    def _end_overfull(self) -> Iterator[Overfull]:
        for child, seat in self.seats.items():
            if seat.is_overfull and not seat.is_leaving:
                seat.is_leaving = True
                yield Overfull(child)

    def _next(self, free_bytes: int, room: Room) -> Start | Hand | None:
        """Return how the first that waits starts; None: its memory is not free."""
        head = self._waiting[0]
        warm = self._warm_for(head.call)
        needed = head.call.memory_bytes - (self.seats[warm].held_bytes if warm is not None else 0)
        since = room.requests_since_seconds
        if needed > free_bytes or (since is not None and since < head.arrived_seconds):
            return None
        if warm is not None:
            return Hand(head.job, warm)
        self._children += 1
        return Start(head.job, self._children)

    def _place(self, action: Start | Hand, now: float) -> int:
        """Give the first that waits its process; return what more is promised by that."""
        head = self._waiting.pop(0)
        before = self.seats.get(action.child)
        seat = Seat(head.call, head.job, head.arrived_seconds)
        seat.until_seconds = now + head.call.timeout_seconds
        if before is None:
            # Until it says that it has begun.
            seat.until_seconds += START_SECONDS
        else:
            seat.held_bytes = before.held_bytes
        self.seats[action.child] = seat
        return seat.committed_bytes - (before.committed_bytes if before is not None else 0)

    def _warm_for(self, call: Call) -> int | None:
        """Return an idle process of the same function that may hold as much."""
        for child, seat in self.seats.items():
            same = (seat.call.function, seat.call.memory_bytes) == (
                call.function,
                call.memory_bytes,
            )
            if seat.is_idle and same:
                return child
        return None

    def _end_idle(self, now: float, room: Room, free_bytes: int) -> Iterator[EndIdle]:
        """End those whose time is over, whose memory is needed, or who are too many."""
        idle = sorted(
            ((child, seat) for child, seat in self.seats.items() if seat.is_idle),
            key=lambda each: each[1].until_seconds,
        )
        since = room.requests_since_seconds
        is_short = room.is_pressed or (since is not None and now - since >= PATIENCE_SECONDS)
        missing = 0
        if self._waits_for_room:
            missing = self._waiting[0].call.memory_bytes - free_bytes
            missing -= sum(s.held_bytes for s in self.seats.values() if s.is_leaving)
        for at, (child, seat) in enumerate(idle):
            too_many = len(idle) - at > self._slots
            if is_short or too_many or missing > 0 or now >= seat.until_seconds:
                missing -= seat.held_bytes
                seat.is_leaving = True
                yield EndIdle(child)
