"""What goes wrong during the soak, each for some seconds: ``KINDS`` has them by name.

Faults happen to the real servers and processes. None of them is told to the application.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer
from tests.support.server import Running
from tests.support.waiting import await_true

from benchmarks.soaking.asking import Person, World
from benchmarks.soaking.ledger import Ledger
from benchmarks.soaking.people import send_photo

SLOW_CLIENTS = 20
LEAKING_CLIENTS = 4
LEAK_KB = 256
LEAK_PAUSE_SECONDS = 0.1
"""Of each of them: 10 MB a second together."""

LARGE_CLIENTS = 40

CROWD = 12
"""Who send a photo at once: more than there are places to wait."""

_SMALL_BUFFER_BYTES = 4096


@dataclass(slots=True)
class Scene:
    """Where it happens, and when a worker was killed by the monotonic clock."""

    server: Running
    postgres: PostgresServer
    redis: RedisServer
    world: World
    ledger: Ledger
    photo: bytes
    kills: list[float] = field(default_factory=list)


async def no_postgres(scene: Scene, seconds: float) -> None:
    """PostgreSQL crashes, and is started again."""
    await asyncio.to_thread(scene.postgres.kill)
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.to_thread(scene.postgres.start)


async def no_redis(scene: Scene, seconds: float) -> None:
    """Redis is killed, and started again, empty."""
    await asyncio.to_thread(scene.redis.kill)
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.to_thread(scene.redis.start)


async def silent_redis(scene: Scene, seconds: float) -> None:
    """Redis takes connections and answers nothing."""
    scene.redis.stop()
    try:
        await asyncio.sleep(seconds)
    finally:
        scene.redis.go_on()


async def killed_worker(scene: Scene, seconds: float) -> None:
    """A worker is ended by SIGKILL, whatever it is doing."""
    # There is none while the last one is being replaced.
    pids = await asyncio.to_thread(await_true, scene.server.worker_pids, "a worker")
    with contextlib.suppress(ProcessLookupError):
        os.kill(scene.world.chance.choice(pids), signal.SIGKILL)
        scene.kills.append(time.monotonic())


async def leak(scene: Scene, seconds: float) -> None:
    """A route keeps 256 KB of each request, 40 times a second."""
    await asyncio.gather(*(_leak(scene, seconds) for _ in range(LEAKING_CLIENTS)))


async def _leak(scene: Scene, seconds: float) -> None:
    person = Person(scene.world, LEAK_PAUSE_SECONDS)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await person.ask("GET", f"/leak?kb={LEAK_KB}")


async def photos(scene: Scene, seconds: float) -> None:
    """Twelve people send a photo at once."""
    crowd = [Person(scene.world) for _ in range(CROWD)]
    await asyncio.gather(*(send_photo(each, scene.ledger, scene.photo) for each in crowd))


async def large(scene: Scene, seconds: float) -> None:
    """Forty people ask, again and again, for what holds 24 MB for a moment."""
    await asyncio.gather(*(_large(scene, seconds) for _ in range(LARGE_CLIENTS)))


async def _large(scene: Scene, seconds: float) -> None:
    person = Person(scene.world)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await person.ask("GET", "/work?mb=24&ms=700")


async def slow_senders(scene: Scene, seconds: float) -> None:
    """Twenty bodies come in at a byte a second."""
    await asyncio.gather(*(_trickle(scene.server.port, seconds) for _ in range(SLOW_CLIENTS)))


async def _trickle(port: int, seconds: float) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"POST /fitflix/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"X-Forwarded-For: 192.0.2.1\r\nContent-Length: 100000\r\n\r\n{"
        )
        until = time.monotonic() + seconds
        with contextlib.suppress(ConnectionError):  # the server has waited long enough
            while time.monotonic() < until:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(1.0)
    finally:
        writer.close()


async def slow_readers(scene: Scene, seconds: float) -> None:
    """Twenty ask for all events, 11 MB, and read next to nothing of it."""
    await asyncio.gather(*(_dawdle(scene.server.port, seconds) for _ in range(SLOW_CLIENTS)))


async def _dawdle(port: int, seconds: float) -> None:
    near = socket.socket()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)
    near.setblocking(False)
    loop = asyncio.get_running_loop()
    with near:
        await loop.sock_connect(near, ("127.0.0.1", port))
        await loop.sock_sendall(
            near,
            b"GET /fitflix/export.csv HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.2\r\n\r\n",
        )
        await asyncio.sleep(seconds)


KINDS: dict[str, Callable[[Scene, float], Awaitable[None]]] = {
    "no PostgreSQL": no_postgres,
    "no Redis": no_redis,
    "silent Redis": silent_redis,
    "killed worker": killed_worker,
    "leak": leak,
    "photos": photos,
    "large requests": large,
    "slow senders": slow_senders,
    "slow readers": slow_readers,
}
