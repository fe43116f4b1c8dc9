"""What happens to acknowledged records while processes, the database and the disk fail.

Clients post records, each with a key of its own, to a real server (``durable_app``), and note which
were acknowledged: once answered 202, a record has to be in the database in the end. The table has
no unique index, so that whatever comes twice is seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import asyncpg  # type: ignore[import-untyped]
from redis.asyncio import Redis
from tests.support.cgroup import MemoryBox
from tests.support.postgres import PostgresServer
from tests.support.server import Running

APP = "tests.promises.durable_app:app"


@dataclass(slots=True)
class Posted:
    """What became of the records that clients have posted."""

    acknowledged: set[int] = field(default_factory=set)
    refused: int = 0
    broken: int = 0
    slowest_seconds: float = 0.0
    #: The last refusal's text.
    why: str = ""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What is in the database."""

    rows: int
    keys: set[int]
    #: Keys that are there with more than one id, and ids with more than one key: none may be.
    confused: int

    @property
    def twice(self) -> int:
        """Rows that are there already, with the same id."""
        return self.rows - len(self.keys)


class Posting:
    """Clients that post until they are told to stop; they connect again when they are cut off.

    Args:
        port: of the server, on this machine; may change.
        clients: how many there are.
        pause_seconds: how long each rests after an answer.
    """

    _keys = itertools.count(1)

    def __init__(self, port: int, clients: int, pause_seconds: float = 0.0) -> None:
        self.port = port
        self.found = Posted()
        self._pause_seconds = pause_seconds
        self._is_over = False
        self._clients = clients

    async def __aenter__(self) -> Posting:
        self._tasks = [asyncio.create_task(self._post()) for _ in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _post(self) -> None:
        while not self._is_over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            try:
                while not self._is_over:
                    await self._post_one(reader, writer)
                    await asyncio.sleep(self._pause_seconds)
            except (OSError, EOFError):
                self.found.broken += 1
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _post_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = next(self._keys)
        begun = time.monotonic()
        writer.write(b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % key)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.splitlines()
            if line.lower().startswith(b"content-length:")
        )
        body = await reader.readexactly(length)
        found = self.found
        found.slowest_seconds = max(found.slowest_seconds, time.monotonic() - begun)
        if head.startswith(b"HTTP/1.1 202"):
            found.acknowledged.add(key)
        else:
            found.refused += 1
            found.why = body.decode()


@contextlib.contextmanager
def database(*, is_durable: bool = False) -> Iterator[PostgresServer]:
    """Yield a server with the table ``events``."""

    async def make(url: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE events (id text, key bigint, text text)")
        await connection.close()

    with PostgresServer(is_durable=is_durable) as server:
        asyncio.run(make(server.url))
        yield server


class Store(Protocol):
    """What stores records, and can be gone: PostgreSQL, or Redis."""

    @property
    def url(self) -> str:
        """Where it is."""

    def kill(self) -> None:
        """End it at once."""

    def start(self) -> None:
        """Start it again, with what it had stored."""


async def arrived(url: str) -> Arrived:
    """Return what is in the database, or in the stream."""
    if not url.startswith("postgres"):
        return await _arrived_in_stream(url)
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT key, id FROM events")
        pairs = {(row["key"], row["id"]) for row in rows}
        return _counted(len(rows), pairs)
    finally:
        await connection.close()


async def _arrived_in_stream(url: str) -> Arrived:
    async with Redis.from_url(url, decode_responses=True) as client:
        found: Any = await client.xrange("events")
    pairs = {(json.loads(fields["json"])["key"], fields["id"]) for _, fields in found}
    return _counted(len(found), pairs)


def _counted(rows: int, pairs: set[tuple[int, str]]) -> Arrived:
    keys, ids = {key for key, _ in pairs}, {each for _, each in pairs}
    return Arrived(rows, keys, 2 * len(pairs) - len(keys) - len(ids))


def serving(
    url: str, spool: Path, box: MemoryBox | None, *, workers: int = 2, **env: str
) -> Running:
    """Return a server for ``durable_app``."""
    options = ["--workers", str(workers), "--spool-dir", str(spool), "--stop-seconds", "10"]
    memory = [] if box else ["--memory", "192M"]
    return Running(APP, *options, *memory, box=box, env={"EVENTS_URL": url} | env)


def left_in_more_than(spool: Path, living: int) -> bool:
    """Return whether *spool* holds more than the empty journals of so many workers.

    One that is delivered keeps the file that it adds to.
    """
    files = list(spool.rglob("*.records"))
    return len(files) > living or any(_undelivered(path) for path in files)


def _undelivered(path: Path) -> bool:
    try:
        segment, offset, _ = (path.parent / "delivered").read_text().split()
        return int(path.stem) > int(segment) or path.stat().st_size > int(offset)
    except (FileNotFoundError, ValueError):
        return path.exists() and path.stat().st_size > 64


async def kill_again_and_again(
    url: str, spool: Path, box: MemoryBox, *, kills: int, seed: int, clients: int = 16
) -> Posted:
    """Kill workers, two a server, and then all of the server at once; *kills* in all.

    A server that starts finds what was left, and goes on. The last one is asked to stop.
    """
    chance = random.Random(seed)
    kinds = itertools.islice(itertools.cycle(("worker", "worker", "all")), kills)
    async with Posting(0, clients) as posting:
        while (kind := next(kinds, None)) is not None:
            async with _started(serving(url, spool, box)) as server:
                posting.port = server.port
                while kind is not None:
                    await asyncio.sleep(chance.uniform(0.02, 0.35))
                    if kind == "all":
                        await asyncio.to_thread(box.kill_all)
                        server.process.wait()
                        break
                    await asyncio.to_thread(_kill_a_worker, server, chance)
                    kind = next(kinds, None)
    await deliver_the_rest(url, spool, box)
    return posting.found


async def stop_the_database(
    database: Store, spool: Path, box: MemoryBox, *, seconds: float, clients: int = 16
) -> Posted:
    """Have the database, or Redis, gone for *seconds*, while records are posted."""
    async with _started(serving(database.url, spool, box)) as server:
        async with Posting(server.port, clients, 0.005) as posting:
            await asyncio.sleep(1)
            database.kill()
            await asyncio.sleep(seconds)
            acknowledged = len(posting.found.acknowledged)
            await asyncio.to_thread(database.start)
            await asyncio.sleep(1)
            assert len(posting.found.acknowledged) > acknowledged
        await until(lambda: not left_in_more_than(spool, 2), "all is delivered", 30)
    return posting.found


async def fill_the_disk(
    database: PostgresServer, spool: Path, box: MemoryBox, *, clients: int = 4
) -> Posted:
    """Have the database gone until the disk is full, and then some; both come back."""
    with_long_texts = serving(database.url, spool, box, EVENTS_TEXT_BYTES="20000")
    async with _started(with_long_texts) as server:
        database.kill()
        async with Posting(server.port, clients, 0.002) as posting:
            await until(lambda: posting.found.refused > 50, "the disk is full", 60)
            assert "No space left on device" in posting.found.why
            kept = len(posting.found.acknowledged)
            assert kept * 20_000 > 0.7 * _disk_bytes(spool)
            await asyncio.to_thread(database.start)
            await until(
                lambda: len(posting.found.acknowledged) > kept + 50, "records are taken again", 30
            )
        await until(lambda: not left_in_more_than(spool, 2), "all is delivered", 30)
    return posting.found


async def deliver_the_rest(url: str, spool: Path, box: MemoryBox) -> None:
    """Start a server, which finds what others have left, and stop it when all is delivered."""
    async with _started(serving(url, spool, box)):
        await until(lambda: not left_in_more_than(spool, 2), "all is delivered", 30)


@contextlib.asynccontextmanager
async def _started(server: Running) -> AsyncIterator[Running]:
    # In a thread, lest clients stand still meanwhile.
    await asyncio.to_thread(server.__enter__)
    try:
        yield server
    except BaseException as error:
        await asyncio.to_thread(server.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(server.__exit__, None, None, None)


def _disk_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize


def _kill_a_worker(server: Running, chance: random.Random) -> None:
    pids = server.worker_pids()
    if pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(pids), signal.SIGKILL)


async def until(condition: Callable[[], object], what: str, within_seconds: float = 20.0) -> None:
    """Return when *condition* is so; the loop goes on meanwhile.

    Raises:
        AssertionError: it was not so *within_seconds*; the message says *what* was awaited.
    """
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_seconds:g} s: {what}"
        await asyncio.sleep(0.02)
