"""Hostile clients on real sockets and a real server: memory stays, all others are served."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections import Counter
from contextlib import suppress
from statistics import median

import pytest
from tests.support.server import Running
from tests.support.slowness import SLOWNESS

from tonnage.host.processes import read_rollup
from tonnage.server.connections import MOST_EXTRA
from tonnage.units import KIB, MIB

pytestmark = pytest.mark.real

APP = "tests.promises.apps:app"
# As ever, but sooner.
SOON = ("--header-seconds", "2", "--body-seconds", "2", "--keep-alive-seconds", "2")
SECONDS = 5.0
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /count HTTP/1.1\r\nHost: a\r\n"

# What they send first, what again and again, and how often.
HOSTILE: dict[str, tuple[bytes, bytes, float]] = {
    "slow heads": (GET + b"X-a: ", b"b", 0.5),
    "large slow heads": (GET + b"X-a: " + b"b" * 30 * KIB, b"b", 0.5),
    "slow bodies": (POST + b"Content-Length: 100000\r\n\r\n", b"x", 0.5),
    "slow chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.5),
    "100,000 headers": (GET + b"a: b\r\n" * 100_000, b"", 0.5),
    "a header without end": (GET + b"X-a: ", b"b" * 64 * KIB, 0.05),
    "10 GB to who reads nothing": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"10000\r\n%b\r\n" % (b"x" * 64 * KIB),
        0.01,
    ),
    "an extension without end": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;a=",
        b"b" * 64 * KIB,
        0.05,
    ),
    "pipelined requests": ((GET + b"\r\n") * 1000, b"", 0.5),
    "nothing": (b"", b"", 0.5),
}


async def attack(port: int, kind: str, until: float, cuts: Counter[str]) -> None:
    """Be hostile in one way, again whenever the server ends it."""
    first, again, every_seconds = HOSTILE[kind]
    while time.monotonic() < until:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(first)
                while time.monotonic() < until and not reader.at_eof():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(every_seconds):
                            await reader.read(65536)
                    if not reader.at_eof():
                        writer.write(again)
                        await writer.drain()
                cuts[kind] += time.monotonic() < until
            except OSError:
                cuts[kind] += 1
            finally:
                writer.transport.abort()
        await asyncio.sleep(0.05)


async def ask(port: int, path: str, until: float, seconds: list[float]) -> None:
    """Ask for *path* like a client that means no harm; note how long each answer took."""
    while time.monotonic() < until:
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        seconds.append(time.monotonic() - begun)
        writer.close()
        await asyncio.sleep(0.02)


def test_hostile_clients_take_no_memory_and_keep_nobody_from_being_served() -> None:
    """Ten ways at once, two hundred connections, for as long as it takes to cut all of them."""

    async def storm(port: int) -> None:
        until = time.monotonic() + SECONDS * SLOWNESS
        async with asyncio.TaskGroup() as group:
            for kind in HOSTILE:
                for _ in range(20 if "without end" not in kind and "10 GB" not in kind else 3):
                    group.create_task(attack(port, kind, until, cuts))
            for path in ("/", "/health"):
                group.create_task(ask(port, path, until, served.setdefault(path, [])))
            group.create_task(watch(until))

    async def watch(until: float) -> None:
        while time.monotonic() < until:
            most.append(sum(read_rollup(pid).pss_bytes for pid in pids))
            await asyncio.sleep(0.2)

    cuts: Counter[str] = Counter()
    served: dict[str, list[float]] = {}
    most: list[int] = []
    with Running(APP, "--memory", "512M", "--workers", "1", *SOON) as server:
        for _ in range(20):
            server.get("/")
        pids = server.tree()
        before = sum(read_rollup(pid).pss_bytes for pid in pids)

        asyncio.run(storm(server.port))

        assert max(most) - before < 10 * MIB
        assert set(cuts) == set(HOSTILE)
        for path, seconds in served.items():
            assert len(seconds) > 30 / SLOWNESS, path
            assert median(seconds) < 0.1 * SLOWNESS, path
        assert "connection(s) were ended: " in server.log
        assert "Traceback" not in server.log
        assert server.get("/health/memory").json()["status"] == "OK"


def test_more_connections_than_are_served_do_not_keep_others_out() -> None:
    """Each newcomer takes the place of one that only holds it."""
    with Running(APP, "--memory", "512M", "--workers", "1", "--max-connections", "20") as server:
        holders = [server.connect() for _ in range(20 + 2 * MOST_EXTRA)]
        try:
            for number, holder in enumerate(holders):
                holder.sendall(GET if number % 2 else b"")
            for _ in range(20):
                assert server.get("/").status == 200
                assert server.get("/health").status == 200
            assert server.health_memory()["workers"][0]["connections"] <= 20
        finally:
            for holder in holders:
                holder.close()


def test_a_connection_outlives_an_answer_before_the_body() -> None:
    """Whatever comes of the body is dropped, and the client is blamed for nothing."""
    with Running(APP, "--memory", "512M", "--workers", "1") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=4.0 * SLOWNESS)
        for size_bytes in (10_000, 100_000, 270_000, 400_000, 4_000_000):
            connection.request("POST", "/", bytes(size_bytes))
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("connection")) == (200, None)
            answer.read()
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert answer.status == 200
            answer.read()
        connection.close()
    assert "were ended" not in server.log


def test_a_websocket_outlives_the_time_for_idle_connections() -> None:
    """It is not ours to judge once it has left HTTP."""
    client = pytest.importorskip("websockets.sync.client")
    limits = ("--keep-alive-seconds", "0.4", "--header-seconds", "0.4", "--body-seconds", "0.4")
    with (
        Running(APP, "--memory", "512M", *limits) as server,
        client.connect(f"ws://127.0.0.1:{server.port}/ws") as websocket,
    ):
        idle = server.connect()
        # Longer than any of the times: an idle connection has ended meanwhile.
        assert idle.recv(1) == b""
        idle.close()
        websocket.send("still here")
        assert websocket.recv() == "echo still here"
