"""A record that a durable writer has accepted arrives, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.promises.durability import (
    Posted,
    Store,
    arrived,
    database,
    fill_the_disk,
    kill_again_and_again,
    stop_the_database,
)
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.disk import need_small_disk, on_a_disk
from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer

from tonnage.units import MIB

pytestmark = pytest.mark.real

LIMIT_BYTES = 192 * MIB


@pytest.fixture(scope="module")
def running() -> Iterator[PostgresServer]:
    """Return the database of all tests here; each has keys of its own."""
    need_cgroup()
    with database() as server:
        yield server


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a disk."""
    with on_a_disk(tmp_path) as directory:
        yield directory


def test_killed_again_and_again(running: PostgresServer, spool: Path) -> None:
    """20 times at random moments: what was acknowledged is there, and nothing under two ids."""
    with MemoryBox(LIMIT_BYTES) as box:
        posted = asyncio.run(kill_again_and_again(running.url, spool, box, kills=20, seed=5))
        check(running, posted, box)
    assert len(posted.acknowledged) > 1000
    assert posted.broken >= 7, "clients have lost connections"
    assert posted.refused == 0


def test_the_database_goes_and_comes_back(running: PostgresServer, spool: Path) -> None:
    """Records are taken meanwhile, and requests answered; they arrive when it is back."""
    with MemoryBox(LIMIT_BYTES) as box:
        posted = asyncio.run(stop_the_database(running, spool, box, seconds=2))
        check(running, posted, box)
    assert posted.broken == posted.refused == 0
    assert len(posted.acknowledged) > 1000
    assert posted.slowest_seconds < 2


def test_redis_goes_and_comes_back(spool: Path) -> None:
    """The same with a stream of Redis, which keeps what it has answered for."""
    need_cgroup()
    with ExitStack() as stack:
        stream = stack.enter_context(RedisServer(appendonly="yes", appendfsync="always"))
        box = stack.enter_context(MemoryBox(LIMIT_BYTES))
        posted = asyncio.run(stop_the_database(stream, spool, box, seconds=2))
        check(stream, posted, box)
    assert posted.broken == posted.refused == 0
    assert len(posted.acknowledged) > 1000
    assert posted.slowest_seconds < 2


def test_the_disk_is_full(running: PostgresServer) -> None:
    """Refusals say so, and nothing that was acknowledged is lost; it goes on when there is room."""
    with ExitStack() as stack:
        spool = need_small_disk(16 * MIB, stack)
        box = stack.enter_context(MemoryBox(LIMIT_BYTES))
        posted = asyncio.run(fill_the_disk(running, spool, box))
        check(running, posted, box)
    assert posted.broken == 0


def check(running: Store, posted: Posted, box: MemoryBox) -> None:
    """Assert that what was acknowledged is stored, and that the kernel killed nothing."""
    found = asyncio.run(arrived(running.url))
    assert posted.acknowledged - found.keys == set()
    assert found.confused == 0
    assert box.kills() == 0
