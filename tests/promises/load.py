"""A load on a running server, with the probes that a platform would send meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks.guilty import asking
from benchmarks.load import Kind, Load, Tally
from benchmarks.probe import TIMEOUT_SECONDS, Health, probing
from tests.support.server import Running
from tests.support.slowness import SLOWNESS

__all__ = ["ORDINARY", "Kind", "Load", "Storm", "run", "storm"]

T = TypeVar("T")

# What most requests are like, while others go wrong.
ORDINARY = (
    Kind("trivial", "/", 0.6),
    Kind("rows", "/rows", 0.3),
    Kind("1 MB", "/work?mb=1&ms=20", 0.1, 0.02),
)
WORK = Kind("work", "/work?mb=8&ms=300", hold_seconds=0.3)


@dataclass(frozen=True, slots=True)
class Storm:
    """What became of the requests, of the probes of ``/health``, and of the guilty requests."""

    tallies: dict[str, Tally]
    health: Health
    guilty: Counter[str]

    def count(self, of: Callable[[Tally], int]) -> int:
        """Return the sum of *of* over all kinds of requests."""
        return sum(map(of, self.tallies.values()))


def storm(
    server: Running,
    kinds: Sequence[Kind] = (WORK,),
    *,
    clients: int = 128,
    seconds: float = 6.0,
    guilty: Sequence[str] = (),
) -> Storm:
    """Let *clients* ask for *kinds*, each again as soon as it is answered, and probe health.

    One more client asks for the paths in *guilty* in turn, one a second.
    """

    async def main() -> Storm:
        load = Load(server.port, kinds, clients=clients)
        async with AsyncExitStack() as stack:
            health = await stack.enter_async_context(
                probing(server.port, timeout_seconds=TIMEOUT_SECONDS * SLOWNESS)
            )
            outcomes: Counter[str] = Counter()
            load.start()
            if guilty:
                outcomes = await stack.enter_async_context(asking(server.port, guilty))
            await load.keep_going(seconds)
        await load.stop(10.0 * SLOWNESS)
        return Storm(load.tallies, health, outcomes)

    return run(main())


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* in an event loop of its own."""
    with asyncio.Runner() as runner:
        return runner.run(main)
