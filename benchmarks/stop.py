"""SIGTERM under load: is every request that was under way answered, and how soon is it over?

Clients do not know of the signal and go on as real ones would. A request under way when the signal
is sent must be answered. One sent afterwards on a connection that is still open should be, with
``Connection: close``; a refused new connection is what stopping means and counts for nothing.
"""

from __future__ import annotations

import argparse
import signal
import time
from dataclasses import asdict, dataclass

from benchmarks import options
from benchmarks.box import MemoryBox
from benchmarks.load import Kind, Load
from benchmarks.peers import Peer
from benchmarks.record import Result, machine
from benchmarks.server import Server
from benchmarks.storm import run as run_loop
from tonnage.units import format_bytes

SUMMARY = "SIGTERM under load: requests under way that failed, seconds until the server is gone"

KIND = Kind("work", "/work?mb=1&ms=300", 1.0, 0.3)
BEFORE_SECONDS = 2.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_load(parser, seconds=15, clients=32, peers="uvicorn,gunicorn2,granian2,tonnage")


def run(chosen: argparse.Namespace) -> Result:
    """Stop every chosen peer once."""
    before = machine()
    found = {peer.name: _stop(peer, chosen) for peer in chosen.peers}
    return Result(
        name="stop",
        title=f"SIGTERM under {chosen.clients} clients of {KIND.path},"
        f" limit {format_bytes(chosen.limit)}",
        columns=[
            "server",
            "under way",
            "of them failed",
            "sent later, reset",
            "gone after",
            "exit",
        ],
        rows=[_row(name, outcome) for name, outcome in found.items()],
        notes=[
            "sent later, reset: requests sent after the signal on a connection that was open then,"
            " or made since, and lost without an answer. Refused connections are not counted.",
            f"gone after: until the main process ended, - if not within {chosen.seconds:g} s.",
        ],
        machine=before,
        details={name: asdict(outcome) for name, outcome in found.items()},
    )


@dataclass(frozen=True, slots=True)
class _Outcome:
    under_way: int
    failed: int
    reset_later: int
    gone_seconds: float | None
    exit_status: int | None
    printed: str


def _row(name: str, outcome: _Outcome) -> list[str]:
    gone = outcome.gone_seconds
    return [
        name,
        str(outcome.under_way),
        str(outcome.failed),
        str(outcome.reset_later),
        "-" if gone is None else f"{gone:.2f} s",
        "-" if outcome.exit_status is None else str(outcome.exit_status),
    ]


def _stop(peer: Peer, chosen: argparse.Namespace) -> _Outcome:
    with MemoryBox(chosen.limit) as box, Server(peer, box) as server:

        async def main() -> _Outcome:
            load = Load(server.port, [KIND], clients=chosen.clients, timeout_seconds=chosen.seconds)
            load.start()
            await load.keep_going(BEFORE_SECONDS)
            under_way, told_at = load.under_way, time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            while server.alive and time.monotonic() - told_at < chosen.seconds:
                await load.keep_going(0.02)
            gone = None if server.alive else time.monotonic() - told_at
            await load.stop(drain_seconds=1.0)
            early = sum(sent_at <= told_at for sent_at in load.reset_sent_at)
            return _Outcome(
                under_way=under_way,
                failed=early + load.tallies[KIND.name].timed_out,
                reset_later=len(load.reset_sent_at) - early,
                gone_seconds=gone,
                exit_status=server.process.poll(),
                printed=server.printed()[-500:],
            )

        return run_loop(main())
