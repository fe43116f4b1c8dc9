"""Several real workers of one queue: one that dies, one that stops, and large results in S3."""

from __future__ import annotations

import asyncio
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.jobs.queue import work
from tests.jobs.queue.conftest import KEY, WORK, Ways, call_of, pss_bytes
from tests.support.redis import RedisServer
from tests.support.server import Running
from tests.support.taskqueue import QueueWorker
from tests.support.waiting import Ends, await_true

from tonnage.host.processes import descendants
from tonnage.units import MIB

pytestmark = pytest.mark.real

_ENV = {"TONNAGE_JOB_KEY": KEY}


async def test_a_job_whose_worker_is_killed_is_done_by_another_and_answered_once(
    ways: Ways, redis: RedisServer, tmp_path: Path
) -> None:
    """Nothing of the killed worker is left; a job that is not lucky either time is given up."""
    path = tmp_path / "done"
    way = ways(redis.url, heartbeat_seconds=1, job_retries=1)
    call = call_of(work.note_and_rest_at_first)
    with (
        QueueWorker(redis.url, WORK, env=_ENV) as one,
        QueueWorker(redis.url, WORK, env=_ENV) as two,
    ):
        asked = asyncio.create_task(way.run(call, (path,), {}, "card-42"))
        pid = int(await asyncio.to_thread(await_true, lambda: _text(path), "the job has begun"))
        has_it, other = (one, two) if pid in descendants(one.process.pid) else (two, one)
        left = Ends(has_it.tree)
        has_it.kill()
        number, parent = await asked
        assert (number, parent in descendants(other.process.pid)) == (2, True)
        assert await way.run(call, (path,), {}, "card-42") == (number, parent)
        assert not left.await_all(5)
    assert way.statistics().done == 2
    assert len(path.read_text().splitlines()) == 2


async def test_a_worker_that_stops_finishes_what_it_can_and_gives_back_the_rest(
    ways: Ways, redis: RedisServer, tmp_path: Path
) -> None:
    """Which does not count as an attempt: there are no retries here."""
    quick, slow = tmp_path / "quick", tmp_path / "slow"
    way = ways(redis.url, job_retries=0)
    options = ("--job-slots", "2", "--stop-seconds", "1")
    with QueueWorker(redis.url, WORK, *options, env=_ENV) as first:
        rested = asyncio.create_task(way.run(call_of(work.note), (quick, 0.8), {}))
        given_back = asyncio.create_task(way.run(call_of(work.note_and_rest_at_first), (slow,), {}))
        await asyncio.to_thread(await_true, lambda: _text(quick) and _text(slow), "both have begun")
        assert await asyncio.to_thread(first.stop) == 0
        assert await rested == 1
    with QueueWorker(redis.url, WORK, env=_ENV):
        assert (await given_back)[0] == 2


@pytest.fixture
def bucket() -> Iterator[dict[str, str]]:
    """A real S3 server; what a client needs to know of it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        made = urllib.request.Request(f"{address}/results", method="PUT")
        with urllib.request.urlopen(made) as answer:
            assert answer.status == 200
        yield {
            "AWS_ACCESS_KEY_ID": "user",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": address,
            "AWS_ALLOW_HTTP": "true",
        }
    finally:
        server.stop()


async def test_large_values_go_through_s3(
    ways: Ways,
    redis: RedisServer,
    bucket: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both ways; and neither the worker nor its children hold them for long."""
    place = "s3://results/jobs"
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    way = ways(redis.url, job_results=place)
    env = {**_ENV, **bucket, "TONNAGE_JOB_RESULTS": place}
    with QueueWorker(redis.url, WORK, env=env) as worker:
        piece = os.urandom(2 * MIB)
        call = call_of(work.repeat, memory_bytes=200 * MIB)
        assert await way.run(call, (piece, 10), {}) == piece * 10
        assert pss_bytes(worker.process.pid) < 70 * MIB


async def test_a_worker_outlives_redis_and_takes_jobs_again(ways: Ways) -> None:
    """It says once that it is away, and once that it is back; waiting costs next to nothing."""
    with RedisServer() as server, QueueWorker(server.url, WORK, env=_ENV) as worker:
        way = ways(server.url)
        server.kill()
        await asyncio.to_thread(await_true, lambda: "cannot be reached" in worker.log, "it says so")
        before = _cpu_seconds(worker.process.pid)
        await asyncio.sleep(0.5)
        assert _cpu_seconds(worker.process.pid) - before < 0.25
        server.start()
        assert await way.run(call_of(work.add), (1, 2), {}) == 3
        await asyncio.to_thread(await_true, lambda: "queue is back" in worker.log, "it says so")
        assert worker.log.count("cannot be reached") == 1
        assert "Traceback" not in worker.log


def test_a_worker_stops_as_it_is_told_also_while_redis_is_away() -> None:
    """It ends well, and says nothing of connections that cannot be closed properly."""
    with RedisServer() as server, QueueWorker(server.url, WORK, env=_ENV) as worker:
        server.kill()
        await_true(lambda: "cannot be reached" in worker.log, "it says so")
        assert worker.stop() == 0
        assert "Traceback" not in worker.log
        assert "no more jobs are taken; the task queue is away" in worker.log


async def test_an_application_hands_its_jobs_over_and_says_when_nobody_takes_them(
    redis: RedisServer,
) -> None:
    """As TONNAGE_JOBS says, without any change of its code."""
    env = {**_ENV, "TONNAGE_JOBS": redis.url}
    with Running("tests.jobs.queue.app:app", "--workers", "1", env=env) as server:
        refused = server.get("/?wait=0.2")
        assert (refused.status, refused.json()["error"]) == (503, "jobs_busy")
        assert int(refused.headers["retry-after"]) > 0
        with QueueWorker(redis.url, WORK, env=_ENV) as worker:
            answer = server.get("/").json()
            assert answer["found"][0] == "elsewhere"
            assert answer["found"][1] in worker.tree
            assert answer["given"] == 2


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
