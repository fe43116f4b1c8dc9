"""Watching a server from outside while it is under load: its health and its memory.

Both watchers run on the clock, not on the server's answers: a probe that is slow does not delay
the next one, so a stall of a second counts as the ten probes that fell into it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from array import array
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from benchmarks.box import MemoryBox
from benchmarks.load import field_of

PROBE_SECONDS = 0.1
TIMEOUT_SECONDS = 2.0
"""An answer that takes longer is a failed probe: most platforms' health checks think so too."""

SAMPLE_SECONDS = 0.1


@dataclass(slots=True)
class Health:
    """What became of the probes; at most one latency per ``PROBE_SECONDS`` of the run.

    ``failures`` has when each failed one was sent and given up, by the monotonic clock.
    """

    answered: int = 0
    failed: int = 0
    failures: list[tuple[float, float]] = field(default_factory=list)
    latencies_seconds: array[float] = field(default_factory=lambda: array("d"))

    @property
    def share(self) -> float:
        """Answered probes among all, 0 to 1."""
        total = self.answered + self.failed
        return self.answered / total if total else 0.0


@dataclass(slots=True)
class MemorySeries:
    """Usage and kernel kills over time, one entry per ``SAMPLE_SECONDS`` of the run."""

    seconds: list[float] = field(default_factory=list)
    usage_bytes: list[int] = field(default_factory=list)
    kernel_kills: list[int] = field(default_factory=list)


@contextlib.asynccontextmanager
async def probing(
    port: int, path: str = "/health", timeout_seconds: float = TIMEOUT_SECONDS
) -> AsyncIterator[Health]:
    """Ask for *path* every ``PROBE_SECONDS``, each time on a new connection."""
    health = Health()

    async def probe() -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout_seconds):
                answered = (await fetch(port, path)).status == 200
        except (OSError, EOFError, TimeoutError, ValueError):
            answered = False
        if answered:
            health.answered += 1
            health.latencies_seconds.append(time.monotonic() - began)
        else:
            health.failed += 1
            health.failures.append((began, time.monotonic()))

    async with asyncio.TaskGroup() as probes:  # at most TIMEOUT / PROBE = 20 at once
        ticker = probes.create_task(
            every(PROBE_SECONDS, lambda: probes.create_task(probe())), name="ticker"
        )
        try:
            yield health
        finally:
            ticker.cancel()


@contextlib.asynccontextmanager
async def sampling(box: MemoryBox) -> AsyncIterator[MemorySeries]:
    """Note the box's usage and kill count every ``SAMPLE_SECONDS``."""
    series = MemorySeries()
    began = time.monotonic()

    def sample() -> None:
        series.seconds.append(round(time.monotonic() - began, 3))
        series.usage_bytes.append(box.usage_bytes)
        series.kernel_kills.append(box.kernel_kills)

    ticker = asyncio.get_running_loop().create_task(every(SAMPLE_SECONDS, sample))
    try:
        yield series
    finally:
        ticker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticker
        sample()


async def every(seconds: float, act: Callable[[], object]) -> None:
    """Call *act* now and every *seconds* by the clock, until cancelled."""
    due = time.monotonic()
    while True:
        act()
        due += seconds
        await asyncio.sleep(max(0.0, due - time.monotonic()))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back on a connection of its own; *worker* is the answer's ``X-Worker``."""

    status: int
    worker: str
    body: bytes


async def fetch(port: int, path: str) -> Answer:
    """Ask for *path* on a new connection and return the answer.

    Raises:
        OSError, EOFError, ValueError: if there is no connection, no whole answer, or nonsense.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = await reader.readexactly(int(field_of(head, b"content-length") or 0))
        return Answer(int(head[9:12]), field_of(head, b"x-worker").decode(), body)
    finally:
        writer.close()
