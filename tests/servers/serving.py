"""Servers as people start them, with one of the applications in :mod:`tests.servers.app`.

with serving("uvicorn", "limited") as port: ...
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.servers.app import LIMITS, ORIGIN_VARIABLE, ROUTES
from tests.support.ports import free_port
from tests.support.server import ROOT, Running, clean_environment
from tests.support.waiting import await_true

APPS = "tests.servers.app"
_PYTHON = (sys.executable, "-m")
COMMANDS: dict[str, tuple[str, ...]] = {
    "uvicorn": (*_PYTHON, "uvicorn", "{app}", "--port", "{port}", "--no-access-log"),
    "uvicorn h11": (
        *_PYTHON, "uvicorn", "{app}", "--port", "{port}", "--http", "h11", "--loop", "asyncio",
        "--ws", "wsproto",
    ),
    "hypercorn": (*_PYTHON, "hypercorn", "{app}", "--bind", "127.0.0.1:{port}"),
    "granian": (*_PYTHON, "granian", "{app}", "--port", "{port}", "--interface", "asgi"),
}  # fmt: skip
SERVERS = (*COMMANDS, "tonnage")
_SECONDS = 15.0


@contextmanager
def serving(
    name: str, app: str, *, port: int | None = None, origin: str | None = None
) -> Iterator[int]:
    """Yield the port of a server called *name*, with the *app* "bare" or "limited".

    *origin* is of the pages that may call it from other sites.
    """
    port = free_port() if port is None else port
    env = {} if origin is None else {ORIGIN_VARIABLE: origin}
    if name == "tonnage":
        with tempfile.TemporaryDirectory() as folder:
            if app == "limited":
                Path(folder, "pyproject.toml").write_text(_table(origin))
            options = ("--workers", "1", "--memory", "256M", "--port", str(port))
            with Running(f"{APPS}:bare", *options, cwd=Path(folder)) as running:
                yield running.port
        return
    command = [word.format(app=f"{APPS}:{app}", port=port) for word in COMMANDS[name]]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=clean_environment() | env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            await_true(lambda: _accepts(port) or process.poll() is not None, name, _SECONDS)
            yield port
        except BaseException as error:
            log.seek(0)
            error.add_note(log.read().decode(errors="replace")[-6000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ask(port: int, request: bytes, seconds: float = 10.0) -> bytes:
    """Return all that *request* is answered with, until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        # It may be answered before it was read.
        with suppress(ConnectionError):
            connection.sendall(request)
        received = bytearray()
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionError:
            received += b"(reset)"
        return bytes(received)


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """Return a request after which the connection ends."""
    lines = (f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *headers, "", "")
    return "\r\n".join(lines).encode("latin-1") + body


def without_additions(answer: bytes) -> bytes:
    """Return *answer* without the headers that limits add, and without the time of day."""
    added = rb"(?im)^(?:date|ratelimit|ratelimit-policy|vary): .*\r\n"
    return re.sub(added, b"", answer)


def _table(origin: str | None) -> str:
    """Return the limits of the application as options of ours."""
    limits = LIMITS | ({"cors_origins": [origin]} if origin else {})
    lines = ["[tool.tonnage]", *(f"{name} = {json.dumps(value)}" for name, value in limits.items())]
    for route, rules in ROUTES.items():
        lines.append(f'[tool.tonnage.routes."{route}"]')
        lines += [f"{name} = {json.dumps(value)}" for name, value in rules.items()]
    return "\n".join(lines)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True
