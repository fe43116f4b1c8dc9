"""What a server's memory and level are, twice a second, for as long as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families
from tests.support.cgroup import MemoryBox
from tests.support.server import Running

from tonnage.host.usage import CgroupMeter

LOOK_SECONDS = 0.5


@dataclass(slots=True)
class Series:
    """One entry for each look: a quarter of a megabyte for an hour.

    ``used_bytes`` is the working set: the charge less the file cache that the kernel can take back.
    """

    seconds: list[float] = field(default_factory=list)
    used_bytes: list[int] = field(default_factory=list)
    levels: list[str] = field(default_factory=list)


def level_of(server: Running) -> str:
    """Return the level, as the supervisor itself has it."""
    level: str = server.ask_supervisor("/health").json()["status"]
    return level


def deaths_of(server: Running) -> dict[str, int]:
    """Return how many workers have ended unasked, by cause, as the supervisor has counted them."""
    text = server.ask_supervisor("/metrics").body.decode()
    families = {each.name: each for each in text_string_to_metric_families(text)}
    deaths = families["tonnage_worker_deaths"].samples
    return {each.labels["why"]: int(each.value) for each in deaths}


@contextlib.asynccontextmanager
async def watching(server: Running, box: MemoryBox) -> AsyncIterator[Series]:
    """Look at *server*, which runs in *box*."""
    series = Series()
    task = asyncio.create_task(_watch(server, box, series))
    try:
        yield series
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _watch(server: Running, box: MemoryBox, series: Series) -> None:
    meter = CgroupMeter(box.cgroup, limit_bytes=box.limit_bytes)
    began = due = time.monotonic()
    try:
        while True:
            level = await asyncio.to_thread(level_of, server)
            series.seconds.append(round(time.monotonic() - began, 2))
            series.used_bytes.append(meter.read().used_bytes)
            series.levels.append(level)
            due += LOOK_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
    finally:
        meter.close()
