"""Deadlines: when a request's time is over, who is told, and what is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

import pytest
from tests.web.virtual import VirtualLoop, now, run, timers, timers_ever

from tonnage.web.path.deadlines import STEP_SECONDS, Deadlines, Timed


class Job(Timed):
    """Tells somebody when its time is over."""

    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell

    def time_out(self) -> None:
        """Tell."""
        self._tell()


def begin(
    seconds: float, tell: Callable[[], object] = int, deadlines: Deadlines | None = None
) -> Job:
    """Return a job whose time has begun."""
    job = Job(tell)
    (deadlines or Deadlines()).begin(job, seconds)
    return job


@pytest.mark.parametrize("seconds", [0.1, 1.0, 2.5, 30.0])
def test_a_deadline_is_never_early_and_little_late(seconds: float) -> None:
    """By two steps at most, or two tenths of a short time."""

    async def story() -> float:
        over = asyncio.Event()
        begun = now()
        begin(seconds, over.set)
        with contextlib.suppress(asyncio.CancelledError):
            await over.wait()
        return now() - begun

    lasted = run(story())
    assert seconds <= lasted <= seconds + 2 * min(STEP_SECONDS, seconds / 10) + 1e-6


def test_time_begins_anew_when_something_moves() -> None:
    """Each part of a response has all the time."""

    async def story() -> bool:
        deadline = begin(1.0)
        for _ in range(10):
            await asyncio.sleep(0.9)
            deadline.has_moved = True
        deadline.end_time()
        return deadline.is_over

    assert run(story()) is False


def test_the_owner_is_told_once_and_the_task_cancelled_again() -> None:
    """One that goes on is cancelled each time that it has had the whole time once more."""

    async def story() -> tuple[int, list[float], int]:
        told: list[float] = []
        cancelled: list[float] = []
        begun = now()
        deadline = begin(1.0, lambda: told.append(now()))
        for _ in range(3):
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                cancelled.append(round(now() - begun))
        deadline.end_time()
        task = asyncio.current_task()
        assert task is not None
        return len(told), cancelled, task.cancelling()

    assert run(story()) == (1, [1, 2, 3], 0)


@pytest.mark.parametrize("by_others", [False, True])
def test_it_is_known_whether_somebody_else_cancels_too(by_others: bool) -> None:
    """A server that stops is not to be taken for a request that took too long."""

    async def request(deadlines: Deadlines) -> tuple[bool, int]:
        task = asyncio.current_task()
        assert task is not None
        deadline = begin(1.0, task.cancel if by_others else lambda: None, deadlines=deadlines)
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            alone = deadline.is_cancelling_alone
            deadline.end_time()
            return alone, task.cancelling()
        raise AssertionError("it was not cancelled")

    alone, left = run(request(Deadlines()))
    assert (alone, left) == (not by_others, int(by_others))


def test_who_was_cancelled_before_counts_no_more() -> None:
    """A task that has lived through another's cancelling is late like any other."""

    async def story() -> tuple[bool, int]:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        deadline = begin(1.0)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(100)
        alone = deadline.is_cancelling_alone
        deadline.end_time()
        return alone, task.cancelling()

    assert run(story()) == (True, 1)


def test_an_idle_process_has_no_timer() -> None:
    """It sleeps until somebody asks for something."""

    async def story() -> tuple[int, int]:
        deadline = begin(1.0)
        before = timers()
        deadline.end_time()
        await asyncio.sleep(1.0)
        return before, timers()

    assert run(story()) == (1, 0)


def test_a_short_time_among_long_ones_is_not_late() -> None:
    """The step becomes as short as the shortest time needs, also while it is under way."""

    async def story() -> float:
        deadlines, begun = Deadlines(), now()
        slow = begin(30.0, deadlines=deadlines)
        over: list[float] = []
        fast = begin(0.1, lambda: over.append(now() - begun), deadlines=deadlines)
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            slow.end_time()
            fast.end_time()
        return over[0]

    assert 0.1 <= run(story()) <= 0.13


def test_times_shorter_than_any_step_share_one_timer() -> None:
    """However many there are and however short: there is a shortest step."""

    async def story() -> int:
        deadlines = Deadlines()
        for number in range(1, 100):
            begin(0.01 / number, deadlines=deadlines)
        return timers_ever()

    assert run(story()) == 1


def test_a_blocked_loop_takes_nobodys_time() -> None:
    """What stood still for ten seconds has not used them."""

    async def story() -> bool:
        loop = asyncio.get_running_loop()
        deadline = begin(5.0)
        await asyncio.sleep(1.0)
        loop._jumping.now_seconds += 10.0  # type: ignore[attr-defined]
        await asyncio.sleep(1.0)
        deadline.end_time()
        return deadline.is_over

    assert run(story()) is False


def test_each_event_loop_has_its_own_timer() -> None:
    """A module's application may be run by one loop after another, and by two at once."""
    deadlines = Deadlines()

    async def story() -> bool:
        over = asyncio.Event()
        deadline = begin(0.1, over.set, deadlines=deadlines)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(over.wait(), 5.0)
        deadline.end_time()
        return deadline.is_over

    async def leave() -> None:
        begin(0.1, deadlines=deadlines)

    # The first loop ends while its timer is set.
    run(leave())
    assert run(story())
    assert run(story())
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(run(story()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True, True]


def test_a_loop_that_goes_on_after_another_has_its_timer_yet() -> None:
    """Loops that take turns in one thread do not gather timers."""
    deadlines = Deadlines()

    async def story() -> int:
        begin(30.0, deadlines=deadlines)
        return timers()

    with (
        asyncio.Runner(loop_factory=VirtualLoop) as one,
        asyncio.Runner(loop_factory=VirtualLoop) as other,
    ):
        assert [loop.run(story()) for loop in (one, other, one, other)] == [1, 1, 1, 1]


def test_who_has_a_thread_of_anyios_is_cancelled_when_it_is_done() -> None:
    """Its place in the pool would be another's before, although the thread is still there."""
    from anyio import to_thread

    may_end = threading.Event()

    async def story() -> tuple[bool, int, bool]:
        limiter = to_thread.current_default_thread_limiter()
        over = asyncio.Event()
        deadline = begin(0.05, over.set)

        async def watch() -> tuple[bool, int]:
            await over.wait()
            await asyncio.sleep(0.05)
            seen = deadline.is_cancelling_alone, int(limiter.borrowed_tokens)
            may_end.set()
            return seen

        watching = asyncio.ensure_future(watch())
        await to_thread.run_sync(may_end.wait, 5.0)
        try:
            await asyncio.sleep(5.0)
        except asyncio.CancelledError:
            was_cancelled = deadline.is_cancelling_alone
            deadline.end_time()
        return *(await watching), was_cancelled

    assert asyncio.run(story()) == (False, 1, True)
