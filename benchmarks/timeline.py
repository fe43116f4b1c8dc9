"""What becomes of each request of many clients, with its time: for what happens in between.

:mod:`benchmarks.load` counts; this keeps every answer, so that those can be told apart that fall
into the time of a fault. Bounded by its seconds: some 100 bytes an answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

PAUSE_SECONDS = 0.05
"""How long a client waits after anything but 200."""
LOOK_SECONDS = 0.01
PROBE_SECONDS = 0.005
TIMEOUT_SECONDS = 30.0
REQUESTS_PER_CONNECTION = 20
"""Then a client connects anew, so that all workers get their share, whoever took most at first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: when it was sent and answered, and with what; 0 is no answer."""

    sent_at: float
    done_at: float
    status: int
    body: bytes = b""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.done_at - self.sent_at


async def ask(port: int, path: str, *, clients: int, seconds: float) -> list[Answer]:
    """Have *clients* ask for *path*, each once, and again as soon as it has its answer."""
    answers: list[Answer] = []
    until = time.monotonic() + seconds
    await asyncio.gather(*(_client(port, path, until, answers) for _ in range(clients)))
    return answers


async def _client(port: int, path: str, until: float, answers: list[Answer]) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    asked, sent_at = 0, time.monotonic()
    while True:
        status, body, is_kept = 0, b"", False
        try:
            if connection is None:
                connection = await asyncio.open_connection("127.0.0.1", port)
                asked = 0
            connection[1].write(request)
            asked += 1
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status, body, is_kept = await _read(connection[0])
        except (OSError, asyncio.IncompleteReadError):
            pass  # status 0
        answers.append(Answer(sent_at, time.monotonic(), status, body if status != 200 else b""))
        if connection is not None and (not is_kept or asked == REQUESTS_PER_CONNECTION):
            connection[1].close()
            connection = None
        if status != 200:
            await asyncio.sleep(PAUSE_SECONDS)
        sent_at = time.monotonic()
        if sent_at >= until:
            break
    if connection is not None:
        connection[1].close()


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
    body = await reader.readexactly(int(length or 0))
    return int(head.split(b" ", 2)[1]), body, b"connection: close" not in head


async def restart(postgres: PostgresServer, away_seconds: float) -> tuple[float, float]:
    """Kill *postgres* and start it again; return when, and when it first took a connection.

    Both in seconds of ``time.monotonic``. While it recovers it refuses everybody, and says so.
    """
    killed_at = time.monotonic()
    await asyncio.to_thread(postgres.kill)
    await asyncio.sleep(away_seconds)
    probe = asyncio.create_task(_first_connection(postgres.url))
    await asyncio.to_thread(postgres.start)
    return killed_at, await probe


async def _first_connection(url: str) -> float:
    import asyncpg  # type: ignore[import-untyped]

    while True:
        try:
            connection = await asyncpg.connect(url)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.sleep(PROBE_SECONDS)
        else:
            taken_at = time.monotonic()
            connection.terminate()
            return taken_at


@dataclass(slots=True)
class Seen:
    """What a PostgreSQL has said of the connections of one application."""

    most: int = 0
    looks: int = 0


@asynccontextmanager
async def counting(url: str, application_name: str) -> AsyncIterator[Seen]:
    """Ask the server again and again, by a connection of its own, how many there are."""
    seen = Seen()
    task = asyncio.create_task(_count(url, application_name, seen))
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _count(url: str, application_name: str, seen: Seen) -> None:
    import asyncpg

    statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"
    while True:
        connection: Any = None
        try:
            connection = await asyncpg.connect(url)
            while True:
                seen.most = max(seen.most, await connection.fetchval(statement, application_name))
                seen.looks += 1
                await asyncio.sleep(LOOK_SECONDS)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.sleep(LOOK_SECONDS)  # it is away
        finally:
            if connection is not None:
                connection.terminate()
