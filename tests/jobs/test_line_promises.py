"""What the line of jobs promises whatever comes in whatever order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tonnage.jobs.call import Call
from tonnage.jobs.decisions import EndIdle, Hand, Overdue, Refuse, Room, Start
from tonnage.jobs.line import START_SECONDS, Line

ROOM_BYTES = 100
QUEUE = 3
TIMEOUT_SECONDS = 5.0
WAIT_SECONDS = 4.0


class AnyOrder(RuleBasedStateMachine):
    """Callers, processes and a clock, with the line between them."""

    @initialize(slots=st.integers(1, 3))
    def begin(self, slots: int) -> None:
        """Make an empty line."""
        self.slots = slots
        self.line = Line(slots, QUEUE)
        self.now = 0.0
        self.jobs = 0
        self.waiting: dict[int, float] = {}
        self.running: dict[int, int] = {}
        self.warm: set[int] = set()
        self.ending: set[int] = set()
        self.answered: list[int] = []

    @rule(
        function=st.sampled_from("ab"),
        memory=st.integers(1, 60),
        keep_warm=st.sampled_from((0.0, 3.0)),
    )
    def arrive(self, function: str, memory: int, keep_warm: float) -> None:
        """A caller asks for a job."""
        self.jobs += 1
        call = Call(function, memory, TIMEOUT_SECONDS, WAIT_SECONDS, keep_warm)
        self.line.arrive(self.jobs, call, self.now)
        self.waiting[self.jobs] = self.now
        self.decide()

    @rule(seconds=st.floats(0.0, 3.0), pressed=st.booleans(), heads=st.booleans())
    def time_passes(self, seconds: float, pressed: bool, heads: bool) -> None:
        """Time passes, and memory may be short, or wanted by requests."""
        self.now += seconds
        self.decide(pressed=pressed, heads=heads)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), share=st.floats(0.0, 1.0))
    def takes_memory(self, data: st.DataObject, share: float) -> None:
        """A job takes some of what it was promised."""
        child = data.draw(st.sampled_from(sorted(self.running)))
        seat = self.line.seats[child]
        seat.held_bytes = int(seat.call.memory_bytes * share)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def is_done(self, data: st.DataObject) -> None:
        """A job is done; its process waits for the next, or ends."""
        child = data.draw(st.sampled_from(sorted(self.running)))
        self.answered.append(self.running.pop(child))
        if self.line.seats[child].call.keep_warm_seconds:
            self.line.idles(child, self.now)
            self.warm.add(child)
        else:
            self.line.leaves(child)
            self.ending.add(child)
        self.decide()

    @precondition(lambda self: self.ending)
    @rule(data=st.data())
    def is_gone(self, data: st.DataObject) -> None:
        """A process that was about to end is gone."""
        child = data.draw(st.sampled_from(sorted(self.ending)))
        self.ending.discard(child)
        self.line.gone(child)
        self.decide()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def gives_up(self, data: st.DataObject) -> None:
        """A caller does not wait any longer."""
        job = data.draw(st.sampled_from(sorted(self.waiting)))
        assert self.line.leave(job)
        del self.waiting[job]
        self.answered.append(job)
        self.decide()

    def decide(self, *, pressed: bool = False, heads: bool = False) -> None:
        """Have the line decide, and do all of it."""
        free_bytes = ROOM_BYTES - self.line.committed_bytes
        room = Room(free_bytes, pressed, self.now if heads else None)
        for action in self.line.decide(self.now, room):
            if isinstance(action, Start | Hand):
                assert action.job == min(self.waiting), "first come is first served"
                del self.waiting[action.job]
                self.running[action.child] = action.job
                assert (action.child in self.warm) == isinstance(action, Hand)
                self.warm.discard(action.child)
            elif isinstance(action, Refuse):
                del self.waiting[action.job]
                self.answered.append(action.job)
            elif isinstance(action, Overdue):
                self.answered.append(self.running.pop(action.child))
                self.ending.add(action.child)
            elif isinstance(action, EndIdle):
                self.warm.discard(action.child)
                self.ending.add(action.child)

    @invariant()
    def no_more_run_than_there_are_slots(self) -> None:
        """Slots, processes and the queue are bounded."""
        if not hasattr(self, "line"):
            return
        assert len(self.running) <= self.line.running <= self.slots
        assert self.line.waiting == len(self.waiting) <= QUEUE
        assert self.line.idle == len(self.warm) <= self.slots

    @invariant()
    def no_more_is_promised_than_there_is_room(self) -> None:
        """What is promised and held is within the room."""
        if hasattr(self, "line"):
            assert self.line.committed_bytes <= ROOM_BYTES

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        """Every wait has an end by the clock."""
        if not hasattr(self, "line"):
            return
        due = self.line.next_seconds()
        assert due is not None or not (self.waiting or self.running or self.warm)
        assert all(self.now - since <= WAIT_SECONDS for since in self.waiting.values())
        longest = TIMEOUT_SECONDS + START_SECONDS + 0.001
        assert all(
            self.line.seats[child].until_seconds <= self.now + longest for child in self.running
        )

    @invariant()
    def everybody_is_answered_once(self) -> None:
        """Nobody is forgotten, and nobody hears twice."""
        if not hasattr(self, "line"):
            return
        known = [*self.answered, *self.waiting, *self.running.values()]
        assert sorted(known) == list(range(1, self.jobs + 1))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
