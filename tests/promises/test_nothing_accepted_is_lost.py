"""Nothing accepted is lost: stopping finishes what has begun, a dead worker costs its own only."""

from __future__ import annotations

import os
import signal
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from tests.promises.load import Kind, Load, run
from tests.support.server import Response, Running
from tests.support.waiting import Ends, await_true

pytestmark = pytest.mark.real

APP = "tests.promises.apps:app"
WORK = Kind("work", "/work?mb=1&ms=100")


def test_stopping_under_load_finishes_what_was_accepted() -> None:
    """64 clients with requests under way: each gets its answer; later ones find a closed door."""
    with Running(APP, "--memory", "512M") as server:

        async def main() -> Load:
            load = Load(server.port, [WORK], clients=64)
            load.start()
            await load.keep_going(1.0)
            server.send(signal.SIGTERM)
            # A client that was just about to connect meets a door that drops its packets.
            load.ending = True
            await load.stop()
            return load

        tree = Ends(server.tree())
        tally = run(main()).tallies["work"]
        assert server.await_end(tree) == 0

    assert tally.ok > 64
    assert tally.late > 0
    assert (tally.broken, tally.other, tally.refused) == (0, 0, 0)


def test_a_connection_that_nobody_has_accepted_yet_is_served() -> None:
    """It waits in the kernel's queue when the server is told to stop; closing would reset it.

    There are more than the worker takes in a few turns of its event loop.
    """
    with Running(APP, "--memory", "512M", "--workers", "1") as server, ExitStack() as stack:
        tree = Ends(server.tree())
        stuck = _stick(server, stack, "/stuck?seconds=0.7")
        waiting = _asking(server, stack, 100)
        await_true(lambda: _queued(server.port) >= 100, "a hundred in the queue")
        server.send(signal.SIGTERM)

        assert stuck.result().body == b"free again"
        assert [each.recv(12) for each in waiting] == [b"HTTP/1.1 200"] * 100
        assert server.await_end(tree) == 0


def test_a_connection_that_the_supervisor_has_taken_is_served() -> None:
    """It waits there while all workers are stuck, also when the server is told to stop."""
    with Running(APP, "--memory", "512M", "--workers", "1") as server, ExitStack() as stack:
        tree = Ends(server.tree())
        stuck = _stick(server, stack, "/stuck?seconds=2")
        waiting = _asking(server, stack, 20)
        await_true(lambda: not _queued(server.port), "the supervisor stands in")
        server.send(signal.SIGTERM)

        assert not stuck.done()
        assert [each.recv(12) for each in waiting] == [b"HTTP/1.1 200"] * 20
        assert server.await_end(tree) == 0


def test_a_long_response_is_finished() -> None:
    """It streams while the server stops."""
    with Running(APP, "--memory", "512M") as server:
        tree = Ends(server.tree())
        with ThreadPoolExecutor(1) as client:
            stream = client.submit(server.get, "/stream?parts=20")
            await_true(lambda: _in_flight(server) == 1, "the stream has begun")
            server.send(signal.SIGTERM)
            assert stream.result().body.endswith(b"part 19\nend")
        assert server.await_end(tree) == 0


def test_a_worker_that_is_killed_is_replaced() -> None:
    """Only what it had under way is lost; the other worker's requests are not."""
    with Running(APP, "--memory", "512M", "--workers", "2") as server:
        before = server.worker_pids()

        async def main() -> tuple[Load, int, int]:
            load = Load(server.port, [WORK], clients=32)
            load.start()
            await load.keep_going(1.0)
            ((victim, _),) = load.workers().most_common(1)
            os.kill(int(victim), signal.SIGKILL)
            under_way = load.under_way_at(victim)
            await load.keep_going(1.0)
            await load.stop()
            return load, int(victim), under_way

        load, victim, under_way = run(main())
        await_true(lambda: len(server.worker_pids()) == 2, "two workers again")

        tally = load.tallies["work"]
        assert tally.broken <= under_way
        assert (tally.other, tally.refused, tally.unreachable) == (0, 0, 0)
        assert len(set(before) & set(server.worker_pids())) == 1
        assert f"(pid {victim}) was ended by SIGKILL" in server.log


def test_requests_wait_while_the_only_worker_is_replaced() -> None:
    """The socket is the supervisor's, so connections are queued and not refused."""
    with Running(APP, "--memory", "512M", "--workers", "1") as server:
        (victim,) = server.worker_pids()
        os.kill(victim, signal.SIGKILL)
        begun = time.monotonic()
        answer = server.get("/")

        assert answer.status == 200
        assert answer.headers["x-worker"] != str(victim)
        assert time.monotonic() - begun < 2.0


def test_every_worker_takes_connections() -> None:
    """None is left without, however few there are."""
    with Running(APP, "--memory", "512M", "--workers", "2") as server:
        seen: set[str] = set()

        def all_seen() -> bool:
            seen.add(server.get("/").headers["x-worker"])
            return len(seen) == 2

        await_true(all_seen, "an answer of each worker")


def _stick(server: Running, stack: ExitStack, path: str) -> Future[Response]:
    """Ask for *path*, which keeps the only worker from everything else; return its answer."""
    (worker,) = server.worker_pids()
    stuck = stack.enter_context(ThreadPoolExecutor(1)).submit(server.get, path)
    await_true(lambda: _in_sleep(worker), "the worker sleeps")
    return stuck


def _asking(server: Running, stack: ExitStack, clients: int) -> list[socket.socket]:
    """Return connections that have asked for ``/``."""
    connections = [stack.enter_context(server.connect()) for _ in range(clients)]
    for each in connections:
        each.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return connections


def _in_flight(server: Running) -> int:
    workers = server.ask_supervisor("/health/memory").json()["workers"]
    return sum(int(worker["inFlight"]) for worker in workers)


def _in_sleep(pid: int) -> bool:
    with open(f"/proc/{pid}/wchan") as file:
        return "nanosleep" in file.read()


def _queued(port: int) -> int:
    """Return how many connections wait to be accepted: the receive queue of a listening socket."""
    with open("/proc/net/tcp") as table:
        for line in table.readlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].partition(":")[2], 16) == port:
                return int(fields[4].partition(":")[2], 16)
    return 0
