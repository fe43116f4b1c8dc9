from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.redis import RedisServer
from tests.support.taskqueue import QueueWorker

from tonnage.jobs.call import Call
from tonnage.jobs.queue.producer import QueueTransport
from tonnage.jobs.settings import current
from tonnage.stores.background import background
from tonnage.units import MIB

WORK = "tests.jobs.queue.work"
KEY = "a key for tests"

Ways = Callable[..., QueueTransport]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A server for the queue."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def worker(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueWorker]:
    """A worker with two slots, and a directory for what is large."""
    env = {
        "TONNAGE_JOB_KEY": KEY,
        "TONNAGE_JOB_RESULTS": str(tmp_path_factory.mktemp("results")),
    }
    with QueueWorker(redis.url, WORK, "--job-slots", "2", env=env) as started:
        yield started


@pytest.fixture
def ways() -> Iterator[Ways]:
    """Makes ways to a queue: its URL, options of the job settings, and a time for heartbeats."""
    with ExitStack() as stack:

        def make(url: str, *, heartbeat_seconds: int = 2, **options: Any) -> QueueTransport:
            settings = replace(current(), jobs=url, **{"job_key": KEY, **options})
            way = QueueTransport(settings, heartbeat_seconds=heartbeat_seconds)
            stack.callback(lambda: background().start(way.aclose()).result(5))
            return way

        yield make


def call_of(function: Callable[..., object], **given: Any) -> Call:
    """Return a call of one of the functions in ``work``."""
    usual = {"memory_bytes": 64 * MIB, "timeout_seconds": 10.0, "wait_seconds": 10.0}
    return Call(f"{WORK}:{function.__name__}", **{**usual, **given})


def pss_bytes(pid: int) -> int:
    """Return what a process holds, its share of common pages counted in."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel tells no PSS")
