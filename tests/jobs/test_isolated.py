"""``isolated`` in an ordinary process, with real jobs: what comes back, and how it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.jobs import functions
from tests.support.waiting import await_true

from tonnage import isolated
from tonnage.errors import ConfigError, JobError, JobTooLargeError
from tonnage.logs import context

pytestmark = pytest.mark.real


async def test_a_function_is_called_in_another_process() -> None:
    """Plain or asynchronous."""
    assert await isolated(functions.add, 1, other=5) == 6
    assert await isolated(functions.add_later, 1) == 2
    assert await isolated(functions.pid) != os.getpid()


async def test_decorated_functions_are_awaited() -> None:
    """What they isolate further runs in the same process."""
    assert await functions.doubled(4) == 8
    assert await functions.doubled_later(4) == 8


async def test_what_a_job_isolates_runs_in_its_own_process() -> None:
    """In each way there is, awaited or waited for: a job of a job would have no room of its own."""
    assert await isolated(functions.isolate_more, 3) == [True, 4, [0, 1, 2], [0, 1, 2]]
    assert await isolated(functions.isolate_more_later, 3) == [True, 4, [0, 1, 2], [0, 1, 2]]


def test_threads_wait() -> None:
    """In every way there is."""
    assert isolated.wait(functions.add, 3) == 4
    assert functions.doubled.wait(3) == 6
    assert list(functions.count.iterate(3)) == [0, 1, 2]
    assert list(functions.count_later.iterate(3)) == [0, 1, 2]


async def test_generators_yield_one_at_a_time() -> None:
    """Plain or asynchronous, decorated or not."""
    assert [each async for each in functions.count(3)] == [0, 1, 2]
    assert [each async for each in functions.count_later(3)] == [0, 1, 2]
    assert [each async for each in isolated.stream(functions.count, 2)] == [0, 1]


async def test_large_values_go_both_ways() -> None:
    """They are too large for a message."""
    given = os.urandom(3 * 2**20)
    assert await isolated(functions.echo, given, memory="64M") == given


async def test_what_cannot_be_pickled_is_not_sent() -> None:
    """Which job it was for is said, and why."""
    with pytest.raises(JobError, match=r"what .*:echo is called with cannot be passed") as caught:
        await isolated(functions.echo, threading.Lock())
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(JobError, match=r"what .*:echo is called with cannot be passed"):
        await asyncio.to_thread(isolated.wait, functions.echo, threading.Lock())


async def test_a_result_that_cannot_be_loaded_says_whose_it_is() -> None:
    """And why, as its cause."""
    with pytest.raises(JobError, match=r"the result of .*:unloadable cannot be loaded") as caught:
        await isolated(functions.unloadable)
    assert isinstance(caught.value.__cause__, LookupError)


async def test_what_is_too_large_for_the_job_is_not_sent() -> None:
    """It could not be loaded there."""
    with pytest.raises(JobTooLargeError, match=r"what .*:echo is called with is larger"):
        await isolated(functions.echo, bytes(3 * 2**20), memory="2M")


async def test_a_process_kept_warm_takes_the_next_call() -> None:
    """Also where the function is named and not called."""
    first = await functions.warm_pid()
    assert await functions.warm_pid() == first
    assert await isolated(functions.warm_pid, wait=9) == first


def test_several_threads_and_their_loops_at_once() -> None:
    """Each hears of its own job."""
    found: list[int] = []

    def ask(value: int) -> None:
        found.append(asyncio.run(functions.doubled(value)))

    threads = [threading.Thread(target=ask, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 2, 4, 6]


async def test_the_request_s_id_is_known_in_the_job() -> None:
    """Its lines in the log have it."""
    token = context.current.set("request-7")
    try:
        assert await isolated(functions.who_asks) == "request-7"
    finally:
        context.current.reset(token)


async def test_the_process_is_set_apart() -> None:
    """Nothing of the server's reaches it."""
    assert await isolated(functions.settled) == {
        "score": 800,
        "name": "tonnage-job",
        "nice": min(19, os.nice(0) + 5),
        "leads": True,
        "stdin": "/dev/null",
        "threads": "1",
        "sigterm": True,
    }


async def test_one_id_asked_for_twice_is_one_job(tmp_path: Path) -> None:
    """All get its result."""
    notes = tmp_path / "notes"
    asked = (isolated(functions.note_and_sleep, str(notes), 0.3, job_id="c-1") for _ in range(3))
    assert await asyncio.gather(*asked) == ["done"] * 3
    assert len(notes.read_text().split()) == 1


def test_threads_that_ask_with_one_id_share_a_job_too(tmp_path: Path) -> None:
    """Without an event loop."""
    notes = tmp_path / "notes"

    def ask(number: int) -> str:
        return str(isolated.wait(functions.note_and_sleep, str(notes), 0.3, job_id="c-2"))

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(ask, range(3))) == ["done"] * 3
    assert len(notes.read_text().split()) == 1


# Left early.


async def test_a_slow_reader_stops_the_generator(tmp_path: Path) -> None:
    """Nothing piles up between the two."""
    notes = tmp_path / "notes"
    async with contextlib.aclosing(functions.count_noted(str(notes))) as items:
        for expected in range(3):
            assert await anext(items) == expected
        await asyncio.sleep(0.1)
        # One ahead at most: it is made, and waits until it is wanted.
        assert len(notes.read_text().split()) <= 4


async def test_who_breaks_off_ends_the_job(tmp_path: Path) -> None:
    """Nobody would read the rest."""
    notes = tmp_path / "notes"
    async with contextlib.aclosing(functions.count_noted(str(notes))) as items:
        async for each in items:
            if each == 2:
                break
    # The slot is free again: else this one would wait until the other's time is over.
    assert await isolated(functions.add, 1, wait=8) == 2


def test_a_thread_that_breaks_off_ends_the_job(tmp_path: Path) -> None:
    """As in an event loop."""
    for each in functions.count_noted.iterate(str(tmp_path / "notes")):
        if each == 2:
            break
    assert isolated.wait(functions.add, 1, wait=8) == 2


async def test_who_is_cancelled_ends_the_job(tmp_path: Path) -> None:
    """As when a client has left, or a request has timed out."""
    notes = tmp_path / "notes"
    task = asyncio.create_task(isolated_task(str(notes)))
    await asyncio.to_thread(await_true, lambda: is_whole(notes), "the job's first line")
    pid = int(notes.read_text())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(await_true, lambda: not Path(f"/proc/{pid}").exists(), "its end")


async def isolated_task(notes: str) -> str:
    """Have a job run that would take longer than any test."""
    return await isolated(functions.note_and_sleep, notes, 60.0)


# Mistakes.


async def test_a_thread_with_an_event_loop_is_not_held_up() -> None:
    """The line says what to write instead."""
    with pytest.raises(RuntimeError, match="await it"):
        functions.doubled.wait(3)
    with pytest.raises(RuntimeError, match="async for"):
        next(functions.count.iterate(3))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"memory": "much"}, "memory='much'"),
        ({"timeout": "soon"}, "timeout='soon'"),
        ({"timeout": 0}, "needs some time"),
        ({"wait": -1}, "wait=-1"),
        ({"keep_warm": "x"}, "keep_warm='x'"),
    ],
)
def test_options_without_sense_are_refused_at_once(options: dict[str, object], why: str) -> None:
    """When the application is imported, not with the first request."""
    with pytest.raises(ConfigError, match=why):
        isolated(**options)  # type: ignore[call-overload]


def test_generators_have_their_own_way() -> None:
    """And other functions theirs."""
    with pytest.raises(TypeError, match=r"isolated\.stream"):
        isolated.wait(functions.count, 3)
    with pytest.raises(TypeError, match="yields nothing"):
        isolated.stream(functions.add, 3)


def is_whole(notes: Path) -> bool:
    """Return whether a line has been written."""
    return notes.exists() and notes.read_text().endswith("\n")
