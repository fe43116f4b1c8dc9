"""Watching a backend in its box from before its start until after the load.

    async with watching(box, port, services) as seen:
        ...

On the clock, each by itself: memory ten times a second, a probe four times a second, what Tonnage
says of itself twice a second, and what the database takes every two seconds. A probe asks twice:
for health, which costs nothing, and what the scenario names as an ordinary request of its users.
The first tells whether anybody is there, the second whether anybody is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from benchmarks.beforeafter.scenario import Step
from benchmarks.beforeafter.services import Services
from benchmarks.beforeafter.site import Site
from benchmarks.beforeafter.told import Told
from benchmarks.beforeafter.visits import request_of
from benchmarks.beforeafter.wire import Connection
from benchmarks.box import MemoryBox
from benchmarks.probe import Answer, every, fetch
from tonnage.host.usage import CgroupMeter

SAMPLE_SECONDS: Final = 0.1
PROBE_SECONDS: Final = 0.25
STATE_SECONDS: Final = 0.5
DATABASE_SECONDS: Final = 2.0
PROBE_TIMEOUT_SECONDS: Final = 2.0
"""An answer that takes longer is none: most platforms' health checks think so too."""
PATH: Final = "/health"
STATE: Final = "/tonnage/state"

_UNWELL: Final = (b'"WARNING"', b'"CRITICAL"', b'"EXHAUSTED"')


@dataclass(slots=True)
class Seen:
    """What was seen; times are of the monotonic clock, in the order of the looks.

    ``used_bytes`` is the kernel's charge less the file cache it can take back. ``served`` and
    ``healthy`` have what became of the two questions of each probe, by when they were asked.
    """

    sampled_at: list[float] = field(default_factory=list)
    used_bytes: list[int] = field(default_factory=list)
    kernel_kills: list[int] = field(default_factory=list)
    served: dict[float, bool] = field(default_factory=dict)
    healthy: dict[float, bool] = field(default_factory=dict)
    told: Told = field(default_factory=Told)

    def used_between(self, first_at: float, last_at: float) -> list[int]:
        """Return the samples of this time."""
        both = zip(self.sampled_at, self.used_bytes, strict=True)
        return [used for at, used in both if first_at <= at <= last_at]


def asked_between(asked: Mapping[float, bool], first_at: float, last_at: float) -> list[bool]:
    """Return what became of the probes that were sent in this time, in their order."""
    return [ok for at, ok in sorted(asked.items()) if first_at <= at <= last_at]


@contextlib.asynccontextmanager
async def watching(
    box: MemoryBox, port: int, services: Services, ordinary: Step, *, asks_state: bool
) -> AsyncIterator[Seen]:
    """Watch, with *ordinary* for a probe.

    *asks_state*: the backend is Tonnage's, which says more of itself.
    """
    seen = Seen()
    meter = CgroupMeter(box.cgroup)

    def sample() -> None:
        seen.sampled_at.append(time.monotonic())
        seen.used_bytes.append(meter.read().used_bytes)
        seen.kernel_kills.append(box.kernel_kills)

    async def ask_health() -> None:
        sent_at = time.monotonic()
        seen.healthy[sent_at] = await answer(port) is not None

    async def ask_ordinary() -> None:
        sent_at = time.monotonic()
        seen.served[sent_at] = await is_served(port, ordinary)

    def probe() -> None:
        group.create_task(ask_health())
        group.create_task(ask_ordinary())

    async with asyncio.TaskGroup() as group:
        # Each probe is a task of its own: one that is slow does not delay the next.
        acts: dict[float, Callable[[], object]] = {
            SAMPLE_SECONDS: sample,
            PROBE_SECONDS: probe,
            DATABASE_SECONDS: lambda: group.create_task(asyncio.to_thread(services.look)),
        }
        if asks_state:
            acts[STATE_SECONDS] = lambda: group.create_task(_note_state(port, seen.told))
        tickers = [group.create_task(every(seconds, act)) for seconds, act in acts.items()]
        try:
            yield seen
        finally:
            for ticker in tickers:
                ticker.cancel()
            sample()
    meter.close()


async def answer(port: int) -> Answer | None:
    """Return what the backend says of its health; None: nothing in time, or its own failure."""
    with contextlib.suppress(OSError, EOFError, ValueError):
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            found = await fetch(port, PATH)
            return found if found.status < 500 else None
    return None


async def is_served(port: int, ordinary: Step) -> bool:
    """Return whether an *ordinary* request, on a connection of its own, is answered in time."""
    connection = Connection(port, "127.0.0.1")
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            reply = await connection.ask(
                request_of(ordinary, {}, {}).encode(), is_head=ordinary.method == "HEAD"
            )
            return reply.status in ordinary.ok
    except (OSError, EOFError, ValueError):
        return False
    finally:
        connection.close()


async def first_answer(site: Site, within_seconds: float, *, gives_up: bool) -> bool:
    """Wait until there is an answer; return whether there was one *within_seconds*.

    With *gives_up* no longer than until the backend has ended by itself.
    """
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline and not (gives_up and site.restarts):
        if await answer(site.port) is not None:
            return True
        await asyncio.sleep(SAMPLE_SECONDS)
    return False


async def well_again(port: int, ordinary: Step, since: float, within_seconds: float) -> float:
    """Return how long after *since* all is well: users are served, and no level but OK is told.

    What is not well *within_seconds* never is: infinite.
    """
    await asyncio.sleep(max(0.0, since - time.monotonic()))
    while time.monotonic() - since < within_seconds:
        found = await answer(port)
        is_well = found is not None and not any(level in found.body for level in _UNWELL)
        if is_well and await is_served(port, ordinary):
            return time.monotonic() - since
        await asyncio.sleep(SAMPLE_SECONDS)
    return math.inf


async def _note_state(port: int, told: Told) -> None:
    """Have *told* note what Tonnage says of itself now; nothing where it does not answer."""
    with contextlib.suppress(OSError, EOFError, ValueError):
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            found = await fetch(port, STATE)
        if found.status == 200:
            told.note(json.loads(found.body))
