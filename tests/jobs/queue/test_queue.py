"""The task queue with one real worker: what comes back, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.jobs.queue import work
from tests.jobs.queue.conftest import KEY, WORK, Ways, call_of, pss_bytes
from tests.support.redis import RedisServer
from tests.support.taskqueue import QueueWorker
from tests.support.waiting import await_true, until

from tonnage.errors import (
    JobBusyError,
    JobEndedError,
    JobError,
    JobMemoryError,
    JobTimeoutError,
    JobTooLargeError,
)
from tonnage.jobs.queue.news import Kind
from tonnage.jobs.queue.posting import Desk
from tonnage.jobs.queue.producer import QueueTransport
from tonnage.jobs.queue.saqueue import client
from tonnage.jobs.queue.sealing import Sealer
from tonnage.jobs.queue.shelf import Shelf
from tonnage.jobs.queue.watch import Watch
from tonnage.jobs.raised import RemoteTraceback
from tonnage.jobs.settings import current
from tonnage.jobs.wire import pack
from tonnage.units import MIB

pytestmark = pytest.mark.real


@pytest.fixture
def way(ways: Ways, redis: RedisServer, worker: QueueWorker) -> QueueTransport:
    """The way to that worker."""
    return ways(redis.url, job_results=worker.results)


async def test_the_result_comes_back_from_a_process_of_the_worker(
    way: QueueTransport, worker: QueueWorker
) -> None:
    """The job runs in a child of the worker's owner of jobs."""
    _, parent = await way.run(call_of(work.where), (), {})
    assert parent in worker.tree
    assert await way.run(call_of(work.add), (1,), {"second": 2}) == 3
    assert way.statistics().done == 2
    assert way.statistics().waiting == 0
    # It has not imported the application: the processes of its jobs do.
    assert pss_bytes(worker.process.pid) < 45 * MIB


def test_a_thread_can_wait(way: QueueTransport) -> None:
    """Without an event loop of its own."""
    assert way.wait(call_of(work.add), (1, 2), {}) == 3


async def test_what_the_function_raises_is_raised_here_and_not_tried_again(
    way: QueueTransport, tmp_path: Path
) -> None:
    """With the traceback from there."""
    path = tmp_path / "done"
    with pytest.raises(ValueError, match="not today") as caught:
        await way.run(call_of(work.note_and_refuse), (path, "not today"), {})
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "note_and_refuse" in str(caught.value.__cause__)
    assert len(path.read_text().splitlines()) == 1


async def test_what_cannot_go_between_processes_is_said_as_where_there_is_no_queue(
    way: QueueTransport,
) -> None:
    """Which job it was, and what of it."""
    with pytest.raises(JobError, match=r"what .*:add is called with cannot be passed"):
        await way.run(call_of(work.add), (threading.Lock(), 2), {})
    with pytest.raises(JobError, match=r"what .*:add is called with cannot be passed"):
        await asyncio.to_thread(way.wait, call_of(work.add), (threading.Lock(), 2), {})
    call = replace(call_of(work.add), function="tests.jobs.functions:unloadable")
    with pytest.raises(
        JobError, match=r"the result of .*:unloadable cannot be loaded here"
    ) as caught:
        await way.run(call, (), {})
    assert isinstance(caught.value.__cause__, LookupError)


async def test_a_job_that_dies_takes_nothing_with_it(way: QueueTransport) -> None:
    """Nor is it repeated: its caller hears how it died."""
    with pytest.raises(JobEndedError, match="SIGSEGV"):
        await way.run(call_of(work.crash), (), {})
    with pytest.raises(JobMemoryError, match="64 MB"):
        await way.run(call_of(work.hoard), (200 * MIB,), {})
    with pytest.raises(JobTimeoutError, match=r"within 0\.3 s"):
        await way.run(call_of(work.rest, timeout_seconds=0.3), (30,), {})
    with pytest.raises(JobError, match="there is no nothing"):
        await way.run(replace(call_of(work.add), function=f"{WORK}:nothing"), (), {})
    assert await way.run(call_of(work.add), (1, 2), {}) == 3


async def test_items_come_one_by_one_and_a_loop_that_is_left_ends_the_job(
    way: QueueTransport, tmp_path: Path
) -> None:
    """And the job is never far ahead of its reader."""
    assert [each async for each in way.iterate(call_of(work.steps), (40,), {})] == [*range(40)]
    path = tmp_path / "given"
    items = way.iterate(call_of(work.steps_for_ever), (path,), {})
    pid = await anext(items)
    await items.aclose()
    await asyncio.to_thread(
        await_true, lambda: not Path(f"/proc/{pid}").exists(), "the job's process is gone"
    )
    assert int(path.read_text()) < 64


async def test_large_values_go_through_the_store_and_are_removed(
    way: QueueTransport, worker: QueueWorker
) -> None:
    """Both ways: what a function is called with and what it returns."""
    assert worker.results is not None
    store = Path(worker.results)
    piece = bytes(range(256)) * 8192
    result = await way.run(call_of(work.repeat), (piece, 4), {})
    assert result == piece * 4
    await asyncio.to_thread(await_true, lambda: not [*store.iterdir()], "the store is empty")


@pytest.mark.parametrize(("size_bytes", "is_here"), [(MIB, True), (5 * MIB, False)])
async def test_a_large_value_does_not_hold_up_the_event_loop(
    way: QueueTransport, size_bytes: int, *, is_here: bool
) -> None:
    """It is loaded in a thread."""
    assert await way.run(call_of(work.loaded_where), (size_bytes,), {}) is is_here


async def test_what_is_too_large_for_redis_needs_a_store(ways: Ways, redis: RedisServer) -> None:
    """It is said before anything is sent."""
    way = ways(redis.url)
    with pytest.raises(JobTooLargeError, match="TONNAGE_JOB_RESULTS"):
        await way.run(call_of(work.repeat), (b"x" * (17 * MIB), 1), {})


async def test_one_id_is_done_once(
    ways: Ways, redis: RedisServer, worker: QueueWorker, tmp_path: Path
) -> None:
    """At the same time and after, from two processes' ways; failures are not kept."""
    one, other = ways(redis.url), ways(redis.url)
    path = tmp_path / "done"
    call = call_of(work.note)
    found = await asyncio.gather(
        one.run(call, (path, 0.3), {}, "card-1"), other.run(call, (path, 0.3), {}, "card-1")
    )
    assert [*found, await one.run(call, (path,), {}, "card-1")] == [1, 1, 1]
    assert one.statistics().joined + other.statistics().joined == 2
    assert await one.run(call, (path,), {}, "card-2") == 2
    refused = call_of(work.note_and_refuse)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await one.run(refused, (path, "no"), {}, "card-3")
    assert len(path.read_text().splitlines()) == 4


async def test_a_call_that_is_cancelled_ends_its_job(way: QueueTransport, tmp_path: Path) -> None:
    """As one whose request is gone."""
    path = tmp_path / "done"
    task = asyncio.create_task(way.run(call_of(work.note), (path, 30.0), {}))
    pid = int(await asyncio.to_thread(await_true, lambda: _text(path), "the job has begun"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(
        await_true, lambda: not Path(f"/proc/{pid}").exists(), "the job's process is gone"
    )


async def test_a_job_that_nobody_waits_for_any_more_is_ended(
    redis: RedisServer, worker: QueueWorker, tmp_path: Path
) -> None:
    """As when the caller's process was killed: nobody renews that somebody waits."""
    path = tmp_path / "done"
    asked = client(redis.url)
    desk = Desk(asked, Sealer(KEY), Shelf(asked, None), current(), 1)
    given = pack((None, (path, 30.0), {}), MIB, "it")
    call = call_of(work.note, timeout_seconds=60.0)
    ticket, _ = await desk.post(call, given, None, has_items=False)
    pid = int(await asyncio.to_thread(await_true, lambda: _text(path), "the job has begun"))
    await asked.delete(ticket.lease_key)
    await asyncio.to_thread(
        await_true, lambda: not Path(f"/proc/{pid}").exists(), "the job's process is gone"
    )
    await asked.aclose()


async def test_other_keys_are_refused(
    ways: Ways, redis: RedisServer, worker: QueueWorker, tmp_path: Path
) -> None:
    """Before anything is loaded or run; and both sides hear why."""
    path = tmp_path / "done"
    forger = ways(redis.url, job_key="another key")
    with pytest.raises(JobError, match="is TONNAGE_JOB_KEY the same"):
        await forger.run(call_of(work.note), (path,), {})
    assert "it has not the right seal" in worker.log
    assert not path.exists()


async def test_too_many_that_wait_are_refused(ways: Ways) -> None:
    """With Retry-After."""
    with RedisServer() as nobody:
        way = ways(nobody.url, job_queue=1)
        first = asyncio.create_task(way.run(call_of(work.add), (1, 2), {}))
        await asyncio.to_thread(await_true, lambda: way.statistics().given, "it is on the queue")
        with pytest.raises(JobBusyError, match="too much work waits already") as caught:
            await way.run(call_of(work.add), (1, 2), {})
        assert dict(caught.value.problem.headers)[b"retry-after"]
        assert not first.done()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_a_turn_that_does_not_come_is_refused(ways: Ways) -> None:
    """And what was put there is taken back."""
    with RedisServer() as nobody:
        way = ways(nobody.url, job_queue=1)
        with pytest.raises(JobBusyError, match="did not get its turn"):
            await way.run(call_of(work.add, wait_seconds=0.1), (1, 2), {})
        assert b":0" in nobody.command("LLEN", "saq:tonnage:queued")


async def test_of_many_asked_for_at_once_no_more_wait_than_may(ways: Ways) -> None:
    """The others are refused before any of those has had its turn."""
    with RedisServer() as nobody:
        way = ways(nobody.url, job_queue=4)
        calls = [asyncio.create_task(way.run(call_of(work.add), (1, 2), {})) for _ in range(30)]
        # And have heard so: they are counted before.
        await until(lambda: sum(call.done() for call in calls) == 26)
        found = way.statistics()
        assert (found.refused, found.given, found.waiting) == (26, 4, 4)
        for call in calls:
            call.cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        refused = [each for each in ended if isinstance(each, JobBusyError)]
        assert len(refused) == 26
        assert all("too much work waits already" in str(each) for each in refused)


async def test_a_job_that_is_waited_for_goes_on_when_redis_has_lost_everything(
    redis: RedisServer, worker: QueueWorker, tmp_path: Path
) -> None:
    """As after a restart, where the worker looks for who waits before those can say so again."""
    path = tmp_path / "done"
    asked = client(redis.url)
    desk = Desk(asked, Sealer(KEY), Shelf(asked, None), current(), 2)
    given = pack((None, (path, 2.5), {}), MIB, "it")
    ticket, _ = await desk.post(call_of(work.note), given, None, has_items=False)

    async def next_look() -> None:
        before = redis.calls("exists")
        await asyncio.to_thread(await_true, lambda: redis.calls("exists") > before, "it looks")

    await asyncio.to_thread(await_true, lambda: _text(path), "the job has begun")
    await next_look()
    redis.command("FLUSHALL")
    await next_look()
    told = await Watch(asked, ticket, Sealer(KEY), 0).next()
    assert told.kind is Kind.RESULT
    await asked.aclose()


async def test_redis_away_is_said_in_bounded_time_and_it_comes_back(ways: Ways) -> None:
    """Nothing has to be begun anew here."""
    with RedisServer(running=False) as server:
        way = ways(server.url)
        with pytest.raises(JobBusyError, match="cannot be taken on now"):
            await way.run(call_of(work.add), (1, 2), {})
        server.start()
        with pytest.raises(JobBusyError, match="did not get its turn"):
            await way.run(call_of(work.add, wait_seconds=0.1), (1, 2), {})


def test_nothing_is_left_in_redis_but_what_expires(redis: RedisServer, way: QueueTransport) -> None:
    """No key of a job stays for ever."""
    assert way.wait(call_of(work.add), (1, 2), {}) == 3
    keys = [
        word.decode()
        for word in redis.command("KEYS", "*").split(b"\r\n")
        if word.startswith((b"tonnage:", b"saq:job:"))
    ]
    assert keys
    for key in keys:
        await_true(partial(_expires, redis, key), f"{key} expires")


def _expires(redis: RedisServer, key: str) -> bool:
    return not redis.command("TTL", key).startswith(b":-1")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
