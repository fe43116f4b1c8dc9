"""``kill -9`` of one worker under load: who notices, and for how long?

The clients keep their connections, so the requests under way in the victim are known: they fail,
and nothing else may. A new worker counts as there when a connection of our own is answered by a
process that was not there before (``X-Worker``, which the application sets).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import asdict, dataclass

from benchmarks import options
from benchmarks.box import MemoryBox
from benchmarks.load import Kind, Load
from benchmarks.peers import Peer
from benchmarks.probe import every, fetch, probing
from benchmarks.record import Result, machine, milliseconds, quantile
from benchmarks.server import Server
from benchmarks.storm import run as run_loop
from tonnage.units import format_bytes

SUMMARY = "kill -9 of a worker under load: failed requests, time until it is replaced"

KIND = Kind("work", "/work?mb=1&ms=50", 1.0, 0.05)
BEFORE_SECONDS = 2.0
LOOK_SECONDS = 0.01
"""How often a new connection asks which worker is there."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_load(parser, seconds=8, clients=32, peers="uvicorn2,gunicorn2,tonnage-workers")
    options.add_workers(parser, 2)


def run(chosen: argparse.Namespace) -> Result:
    """Kill one worker of every chosen peer."""
    before = machine()
    found = {peer.name: _kill_one(peer, chosen) for peer in chosen.peers}
    return Result(
        name="kill",
        title=f"kill -9 of one of {chosen.workers} workers, {chosen.clients} clients,"
        f" {KIND.path}, limit {format_bytes(chosen.limit)}",
        columns=[
            "server", "ok/s", "in flight there", "of them failed", "failed besides", "unreachable",
            "replaced after", "health", "health max",
        ],
        rows=[_row(name, outcome) for name, outcome in found.items()],
        notes=[
            "in flight there: requests under way on connections of the killed worker."
            " failed besides: requests that other workers had, or that were sent later.",
            "replaced after: until a connection of our own is answered by a new process.",
        ],
        machine=before,
        details={name: asdict(outcome) for name, outcome in found.items()},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Outcome:
    ok_per_second: float
    in_flight: int
    failed_in_flight: int
    failed_besides: int
    unreachable: int
    replaced_seconds: float | None
    health_share: float
    health_max_seconds: float


def _row(name: str, outcome: _Outcome) -> list[str]:
    replaced = outcome.replaced_seconds
    return [
        name,
        f"{outcome.ok_per_second:.0f}",
        str(outcome.in_flight),
        str(outcome.failed_in_flight),
        str(outcome.failed_besides),
        str(outcome.unreachable),
        "-" if replaced is None else milliseconds(replaced),
        f"{100 * outcome.health_share:.1f} %",
        milliseconds(outcome.health_max_seconds),
    ]


def _kill_one(peer: Peer, chosen: argparse.Namespace) -> _Outcome:
    with (
        MemoryBox(chosen.limit) as box,
        Server(peer, box, workers=chosen.workers) as server,
    ):

        async def main() -> _Outcome:
            load = Load(server.port, [KIND], clients=chosen.clients)
            async with _Roll(server.port) as roll, probing(server.port) as health:
                load.start()
                await load.keep_going(BEFORE_SECONDS)
                # The worker with the most connections: the worst case of one death.
                victim = load.workers().most_common(1)[0][0]
                in_flight = load.under_way_at(victim)
                roll.close_list()
                _kill(int(victim), box)
                killed_at = time.monotonic()
                await load.keep_going(chosen.seconds - BEFORE_SECONDS)
            await load.stop()
            tally = load.tallies[KIND.name]
            failed = sum(sent_at <= killed_at for sent_at in load.reset_sent_at)
            return _Outcome(
                ok_per_second=tally.ok / chosen.seconds,
                in_flight=in_flight,
                failed_in_flight=min(failed, in_flight),
                failed_besides=tally.reset + tally.timed_out - min(failed, in_flight),
                unreachable=tally.unreachable,
                replaced_seconds=roll.new_at - killed_at if roll.new_at else None,
                health_share=health.share,
                health_max_seconds=quantile(health.latencies_seconds, 1.0),
            )

        return run_loop(main())


def _kill(pid: int, box: MemoryBox) -> None:
    if pid not in box.pids:
        raise RuntimeError(f"process {pid} is not one of the server's")
    os.kill(pid, signal.SIGKILL)


class _Roll:
    """Which workers answer new connections; notes when one comes that was not on the list."""

    def __init__(self, port: int) -> None:
        self.seen: Counter[str] = Counter()
        self.new_at = 0.0
        self._port = port
        self._closed = False
        # At most as many looks at once as fit into their time limit: 2 s / 10 ms = 200.
        self._looks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> _Roll:
        self._ticker = asyncio.create_task(every(LOOK_SECONDS, self._start_look))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ticker.cancel()
        await asyncio.gather(*self._looks)

    def close_list(self) -> None:
        """From now on a worker that is not on the list is a new one."""
        self._closed = True

    def _start_look(self) -> None:
        task = asyncio.create_task(self._look())
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(2.0):
                worker = (await fetch(self._port, "/worker")).worker
        except (OSError, EOFError, TimeoutError, ValueError):
            return  # the failures are counted by the load and the health probes
        if not self._closed:
            self.seen[worker] += 1
        elif worker not in self.seen and not self.new_at:
            self.new_at = time.monotonic()
