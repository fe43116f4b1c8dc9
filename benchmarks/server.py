"""Starting one peer in a box, waiting until it answers, and ending it; one after the other.

``Server`` owns the process it started and a temporary file with what it printed. It does not
look at memory (``benchmarks.box``) and sends no load (``benchmarks.load``).
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks.box import MemoryBox
from benchmarks.peers import APP, Peer

START_SECONDS = 30.0
"""How long a server may take until its first answer."""

REST_SECONDS = 1.0
"""Silence between two servers, for the kernel to hand the memory of the first one back."""

LOG_TAIL_CHARACTERS = 2000
"""How much of what a server printed is kept with the results."""

ROOT = Path(__file__).resolve().parent.parent

_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


class Measured(Protocol):
    """What a measurement has found, and its row of the table."""

    def row(self) -> list[str]:
        """Return the row."""


C = TypeVar("C")
M = TypeVar("M", bound=Measured)


def in_turn(cases: Iterable[C], measure: Callable[[C], M]) -> list[M]:
    """Measure each of *cases*, never two at a time; each row is shown as soon as it is known."""
    found = []
    for case in cases:
        found.append(measure(case))
        print(" | ".join(found[-1].row()), flush=True)
        time.sleep(REST_SECONDS)
    return found


class StartError(Exception):
    """The server ended or gave no answer in time; the message has what it printed."""


class Server:
    """One running peer inside *box*; a context manager that leaves nothing running."""

    def __init__(
        self,
        peer: Peer,
        box: MemoryBox,
        *,
        app: str = APP,
        workers: int | None = None,
        cpus: set[int] | None = None,
    ) -> None:
        self.port = _free_port()
        self.box = box
        self._command = peer.command(self.port, app=app, workers=workers)
        self._environment = _clean_environment() | peer.environment
        self._cpus = cpus
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server

    def __enter__(self) -> Server:
        own_cpus = os.sched_getaffinity(0)
        if self._cpus:
            os.sched_setaffinity(0, self._cpus)  # inherited by the child, then put back
        try:
            self.process = subprocess.Popen(
                self.box.wrap(self._command),
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
            )
        finally:
            os.sched_setaffinity(0, own_cpus)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.box.empty()
        self.process.wait()
        self._log.close()

    @property
    def alive(self) -> bool:
        """Whether the process we started still runs (its workers may not)."""
        return self.process.poll() is None

    def printed(self, characters: int = LOG_TAIL_CHARACTERS) -> str:
        """Return the end of what the server printed."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - characters))
        return self._log.read().decode(errors="replace")

    def get(self, path: str, timeout_seconds: float = 2.0) -> tuple[int, bytes]:
        """Fetch *path* on a connection of its own; return the status and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_seconds)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.alive:
            try:
                if self.get("/")[0] == 200:
                    return
            except OSError:
                pass  # not listening yet
            time.sleep(0.05)
        what = "gave no answer" if self.alive else f"ended with {self.process.returncode}"
        raise StartError(f"{' '.join(self._command[1:])} {what}:\n{self.printed()}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _clean_environment() -> dict[str, str]:
    """Only what a process needs to run: no setting of this shell may favour a peer."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
