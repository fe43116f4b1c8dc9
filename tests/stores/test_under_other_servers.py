"""What writers hold when a server is stopped that knows nothing of them: real servers, SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.ports import free_port
from tests.support.server import ROOT, clean_environment
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true

from tonnage.host.processes import descendants

pytestmark = pytest.mark.real

RECORDS = 5

UVICORN = ["uvicorn", "{app}", "--port", "{port}"]
UVICORN_WORKERS = [*UVICORN, "--workers", "2"]
GUNICORN_UVICORN = [
    "gunicorn", "{app}", "-b", "127.0.0.1:{port}", "-k", "uvicorn.workers.UvicornWorker"
]  # fmt: skip
GUNICORN = ["gunicorn", "{app}", "-b", "127.0.0.1:{port}"]
GUNICORN_THREADS = [*GUNICORN, "--threads", "2"]
GRANIAN = ["granian", "--interface", "asgi", "--port", "{port}", "{app}"]
GRANIAN_WSGI = ["granian", "--interface", "wsgi", "--port", "{port}", "{app}"]
HYPERCORN = ["hypercorn", "-b", "127.0.0.1:{port}", "{app}"]


@pytest.mark.parametrize(
    ("command", "app"),
    [
        (UVICORN, "limited"),
        (UVICORN, "lifelong"),
        (UVICORN_WORKERS, "limited"),
        (GUNICORN_UVICORN, "limited"),
        (GRANIAN, "limited"),
        (GRANIAN, "lifelong"),
        (GRANIAN, "simple"),
        (GRANIAN_WSGI, "threaded"),
        (HYPERCORN, "limited"),
        (HYPERCORN, "simple"),
        (GUNICORN, "threaded"),
        (GUNICORN_THREADS, "threaded"),
    ],
)
def test_what_was_taken_is_stored_when_the_server_is_stopped(
    command: Sequence[str], app: str, tmp_path: Path
) -> None:
    """What was taken is stored when the server is stopped, by whoever sees to it there."""
    file = tmp_path / "events.jsonl"
    with running(command, app, file) as port:
        for number in range(RECORDS):
            get(port, f"/{number}")
        assert not file.exists()
    stored = [json.loads(line)["path"] for line in file.read_text().splitlines()]
    assert sorted(stored) == [f"/{number}" for number in range(RECORDS)]


def get(port: int, path: str) -> None:
    """Have a record taken."""
    url = f"http://127.0.0.1:{port}{path}"
    with urllib.request.urlopen(url, timeout=10 * SLOWNESS) as answer:
        assert answer.read() == b"taken"


@contextmanager
def running(command: Sequence[str], app: str, file: Path) -> Iterator[int]:
    """Yield the port of a server; it is stopped by SIGTERM in the end."""
    port = free_port()
    given = [each.format(app=f"tests.stores.writing_app:{app}", port=port) for each in command]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name(given[0]), *given[1:]],
            cwd=ROOT,
            env=clean_environment() | {"EVENTS_FILE": str(file)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            await_true(lambda: listens(process, port), "the server", 15)
            yield port
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5 * SLOWNESS)
            except subprocess.TimeoutExpired:
                # One worker in a hundred of granian 2.8's does not heed its first signal, whatever
                # the application is; it heeds the second.
                for pid in descendants(process.pid):
                    os.kill(pid, signal.SIGTERM)
                process.wait(15 * SLOWNESS)
        except BaseException as error:
            log.seek(0)
            error.add_note(log.read().decode(errors="replace"))
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Return whether the server takes connections."""
    assert process.poll() is None, "the server has ended"
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
