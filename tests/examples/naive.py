"""The reference backends as they were: each example's ``naive.py`` under a server of its time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.server import ROOT, Response, clean_environment, connection_to, exchange
from tests.support.waiting import await_true

# What each of the two says once it takes connections.
_READY = ("Uvicorn running", "Listening at")


@contextmanager
def naive(
    example: str, env: Mapping[str, str], log: Path, gunicorn: Sequence[str] | None = None
) -> Iterator[str]:
    """Yield the URL of an example's twin; what it prints goes to the file *log*.

    It has one worker of uvicorn, or what the options for *gunicorn* say: others would not hear of
    what one of them changes.
    """
    port = free_port()
    if gunicorn is None:
        command = ["uvicorn", "naive:app", f"--port={port}"]
    else:
        command = ["gunicorn", "naive:app", f"--bind=127.0.0.1:{port}", *gunicorn]
    with log.open("wb") as written:
        server = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT / "examples" / example,
            env=clean_environment() | dict(env),
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        await_true(lambda: any(word in log.read_text() for word in _READY), "the twin", 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def ask(
    url: str,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Ask the server at *url*, with *body* as JSON, as one asks a twin and ours alike."""
    sent = None if body is None else json.dumps(body).encode()
    with connection_to(url, 20.0) as connection:
        told = {"content-type": "application/json", **(headers or {})}
        return exchange(connection, method, path, sent, told)
