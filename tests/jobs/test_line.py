"""The line of jobs: who starts, waits, is refused or is ended."""

from __future__ import annotations

from dataclasses import replace

from tonnage.jobs.call import Call
from tonnage.jobs.decisions import EndIdle, Hand, Overdue, Overfull, Refusal, Refuse, Room, Start
from tonnage.jobs.line import SLACK_BYTES, Line
from tonnage.units import MIB

PLENTY = Room(1000 * MIB)
CALL = Call("shop:cut", 100 * MIB, timeout_seconds=30, wait_seconds=10)
WARM = replace(CALL, keep_warm_seconds=60)


def test_a_job_starts_at_once_where_slot_and_memory_are_free() -> None:
    """Nobody is asked."""
    line = Line(slots=1, queue=0)
    line.arrive(1, CALL, 0.0)
    assert line.decide(0.0, PLENTY) == [Start(1, 1)]
    assert (line.running, line.waiting) == (1, 0)
    assert line.committed_bytes == 100 * MIB


def test_jobs_wait_for_a_slot_in_the_order_in_which_they_came() -> None:
    """First come is first served."""
    line = Line(slots=1, queue=2)
    for job in (1, 2, 3):
        line.arrive(job, CALL, 0.0)
    assert line.decide(0.0, PLENTY) == [Start(1, 1)]
    assert line.head_since_seconds is None, "it waits for a slot, not for memory"
    line.gone(1)
    assert line.decide(1.0, PLENTY) == [Start(2, 2)]
    line.gone(2)
    assert line.decide(2.0, PLENTY) == [Start(3, 3)]


def test_more_jobs_than_the_queue_holds_are_refused() -> None:
    """The newest are."""
    line = Line(slots=1, queue=1)
    for job in (1, 2, 3):
        line.arrive(job, CALL, 0.0)
    assert line.decide(0.0, PLENTY) == [Start(1, 1), Refuse(3, Refusal.QUEUE)]


def test_a_job_that_has_waited_for_as_long_as_it_may_is_refused() -> None:
    """Its own bound counts."""
    line = Line(slots=1, queue=1)
    line.arrive(1, CALL, 0.0)
    line.decide(0.0, PLENTY)
    line.arrive(2, CALL, 1.0)
    assert line.decide(10.9, PLENTY) == []
    assert line.next_seconds() == 11.0
    assert line.decide(11.0, PLENTY) == [Refuse(2, Refusal.WAIT)]


def test_a_job_waits_for_memory_and_is_not_passed_by_a_smaller_one() -> None:
    """It would otherwise never find its memory free."""
    line = Line(slots=2, queue=2)
    line.arrive(1, CALL, 5.0)
    line.arrive(2, replace(CALL, memory_bytes=MIB), 6.0)
    assert line.decide(6.0, Room(99 * MIB)) == []
    assert line.head_since_seconds == 5.0
    assert line.decide(7.0, Room(101 * MIB)) == [Start(1, 1), Start(2, 2)]
    assert line.head_since_seconds is None


def test_a_request_that_has_waited_longer_for_memory_goes_first() -> None:
    """Jobs and requests share the memory, and the order."""
    line = Line(slots=1, queue=1)
    line.arrive(1, CALL, 5.0)
    assert line.decide(5.0, replace(PLENTY, requests_since_seconds=4.0)) == []
    assert line.decide(5.0, replace(PLENTY, requests_since_seconds=6.0)) == [Start(1, 1)]


def test_a_job_is_ended_when_its_time_is_over_and_keeps_its_slot_until_it_is_gone() -> None:
    """Its memory is free only then."""
    line = Line(slots=1, queue=1)
    line.arrive(1, CALL, 0.0)
    line.decide(0.0, PLENTY)
    line.begun(1, 2.0)
    line.arrive(2, replace(CALL, wait_seconds=100), 3.0)
    assert line.decide(31.9, PLENTY) == []
    assert line.decide(32.0, PLENTY) == [Overdue(1)]
    assert line.decide(33.0, PLENTY) == []
    line.gone(1)
    assert line.decide(33.0, PLENTY) == [Start(2, 2)]


def test_a_process_that_never_begins_is_ended_too() -> None:
    """An import may hang."""
    line = Line(slots=1, queue=0)
    line.arrive(1, CALL, 0.0)
    line.decide(0.0, PLENTY)
    assert line.decide(89.9, PLENTY) == []
    assert line.decide(90.0, PLENTY) == [Overdue(1)]


def idle_process(line: Line, *, held_bytes: int = 0) -> None:
    """Have the line's first process, number 1, done with its job and kept warm."""
    line.arrive(1, WARM, 0.0)
    line.decide(0.0, PLENTY)
    line.begun(1, 0.0)
    line.seats[1].held_bytes = held_bytes
    line.idles(1, 1.0)


def test_the_next_call_of_a_function_goes_to_its_idle_process() -> None:
    """Only what it does not hold yet has to be free."""
    line = Line(slots=1, queue=0)
    idle_process(line, held_bytes=40 * MIB)
    assert (line.running, line.idle, line.committed_bytes) == (0, 1, 40 * MIB)
    line.arrive(2, WARM, 2.0)
    assert line.decide(2.0, Room(60 * MIB)) == [Hand(2, 1)]
    assert line.committed_bytes == 100 * MIB


def test_an_idle_process_is_ended_when_its_time_is_over() -> None:
    """Once."""
    line = Line(slots=1, queue=0)
    idle_process(line)
    assert line.next_seconds() == 61.0
    assert line.decide(60.9, PLENTY) == []
    assert line.decide(61.0, PLENTY) == [EndIdle(1)]
    assert line.decide(62.0, PLENTY) == []


def test_an_idle_process_is_ended_where_memory_is_short() -> None:
    """At WARNING and above."""
    line = Line(slots=1, queue=0)
    idle_process(line)
    assert line.decide(2.0, replace(PLENTY, is_pressed=True)) == [EndIdle(1)]


def test_an_idle_process_is_ended_where_a_request_waits_for_memory() -> None:
    """Work that waits comes first; but not what waits for a moment, as requests often do."""
    line = Line(slots=1, queue=0)
    idle_process(line)
    assert line.decide(2.0, replace(PLENTY, requests_since_seconds=1.9)) == []
    assert line.decide(2.0, replace(PLENTY, requests_since_seconds=1.0)) == [EndIdle(1)]


def test_an_idle_process_is_ended_for_another_functions_job_that_needs_its_memory() -> None:
    """The job starts when it is gone."""
    line = Line(slots=1, queue=1)
    idle_process(line, held_bytes=40 * MIB)
    line.arrive(2, replace(CALL, function="shop:other"), 2.0)
    assert line.decide(2.0, Room(70 * MIB)) == [EndIdle(1)]
    assert line.decide(2.0, Room(70 * MIB)) == [], "what it holds comes free"
    line.gone(1)
    assert line.decide(2.1, Room(110 * MIB)) == [Start(2, 2)]


def test_an_idle_process_stays_where_there_is_memory_for_another_functions_job() -> None:
    """It costs nobody anything."""
    line = Line(slots=1, queue=1)
    idle_process(line, held_bytes=40 * MIB)
    line.arrive(2, replace(CALL, function="shop:other"), 2.0)
    assert line.decide(2.0, PLENTY) == [Start(2, 2)]
    assert line.idle == 1


def test_no_more_processes_idle_than_there_are_slots() -> None:
    """What they hold is bounded by that."""
    line = Line(slots=1, queue=1)
    idle_process(line)
    line.arrive(2, replace(WARM, function="shop:other"), 2.0)
    line.decide(2.0, PLENTY)
    line.idles(2, 3.0)
    assert line.decide(3.0, PLENTY) == [EndIdle(1)], "the one that would end first anyway"
    assert line.idle == 1


def test_a_job_taken_back_is_the_first_that_waits() -> None:
    """It has lost nothing by that."""
    line = Line(slots=1, queue=2)
    line.arrive(1, CALL, 0.0)
    line.arrive(2, CALL, 1.0)
    (start,) = line.decide(1.0, PLENTY)
    assert isinstance(start, Start)
    line.put_back(start)
    assert (line.running, line.waiting, line.committed_bytes) == (0, 2, 0)
    assert line.decide(2.0, PLENTY) == [Start(1, 2)]


def test_an_idle_process_whose_job_was_taken_back_is_still_there() -> None:
    """It is not forgotten, nor is what it holds."""
    line = Line(slots=1, queue=2)
    idle_process(line, held_bytes=40 * MIB)
    line.arrive(2, WARM, 2.0)
    (hand,) = line.decide(2.0, PLENTY)
    assert isinstance(hand, Hand)
    line.put_back(hand)
    assert (line.idle, line.waiting, line.committed_bytes) == (1, 1, 40 * MIB)


def test_a_job_that_leaves_the_line_is_not_started() -> None:
    """Nobody waits for it any more."""
    line = Line(slots=1, queue=2)
    line.arrive(1, CALL, 0.0)
    assert line.leave(1)
    assert not line.leave(1)
    assert line.decide(0.0, PLENTY) == []


def test_a_job_that_does_not_wait_starts_where_a_slot_is_free() -> None:
    """It is refused only where it would have to wait."""
    line = Line(slots=1, queue=1)
    hasty = replace(CALL, wait_seconds=0)
    line.arrive(1, hasty, 0.0)
    assert line.decide(0.001, PLENTY) == [Start(1, 1)]
    line.arrive(2, hasty, 1.0)
    assert line.decide(1.001, PLENTY) == [Refuse(2, Refusal.WAIT)]


def test_a_job_that_holds_more_than_it_may_is_ended() -> None:
    """Once, and beyond a small slack."""
    line = Line(slots=1, queue=1)
    line.arrive(1, CALL, 0.0)
    line.decide(0.0, PLENTY)
    line.seats[1].held_bytes = CALL.memory_bytes + SLACK_BYTES
    assert line.decide(1.0, PLENTY) == []
    line.seats[1].held_bytes += 1
    assert line.decide(2.0, PLENTY) == [Overfull(1)]
    assert line.decide(3.0, PLENTY) == []
    assert line.committed_bytes > CALL.memory_bytes, "what it holds is in the books until it ends"


def test_a_slot_comes_free_after_the_usual_time_or_at_the_end_of_its_job() -> None:
    """Nobody who is told when to come again comes in vain because of one that hangs."""
    line = Line(slots=1, queue=1)
    assert line.free_in_seconds(0.0, 5.0) == 0.0
    line.arrive(1, CALL, 0.0)
    line.decide(0.0, PLENTY)
    line.begun(1, 1.0)
    assert line.free_in_seconds(3.0, 5.0) == 3.0
    assert line.free_in_seconds(7.0, 5.0) == 24.0
