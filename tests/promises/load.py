"""A load on a running server, with the probes that a platform would send meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks.load import Kind, Load, Tally
from benchmarks.probe import Health, probing
from tests.support.server import Running

__all__ = ["Kind", "Load", "Storm", "run", "storm"]

T = TypeVar("T")

WORK = Kind("work", "/work?mb=8&ms=300", hold_seconds=0.3)


@dataclass(frozen=True, slots=True)
class Storm:
    """What became of the requests, and of the probes of ``/health``."""

    tallies: dict[str, Tally]
    health: Health

    def count(self, of: Callable[[Tally], int]) -> int:
        """Return the sum of *of* over all kinds of requests."""
        return sum(map(of, self.tallies.values()))


def storm(
    server: Running,
    kinds: Sequence[Kind] = (WORK,),
    *,
    clients: int = 128,
    seconds: float = 6.0,
) -> Storm:
    """Let *clients* ask for *kinds*, each again as soon as it is answered, and probe health."""

    async def main() -> Storm:
        load = Load(server.port, kinds, clients=clients)
        async with probing(server.port) as health:
            load.start()
            await load.keep_going(seconds)
        await load.stop()
        return Storm(load.tallies, health)

    return run(main())


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* in an event loop of its own."""
    with asyncio.Runner() as runner:
        return runner.run(main)
