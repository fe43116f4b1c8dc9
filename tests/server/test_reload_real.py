"""``--reload`` of a real server whose source is broken for a while, as everybody's is."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.support.ports import free_port
from tests.support.server import (
    Response,
    Running,
    clean_environment,
    command,
    connection_to,
    exchange,
)
from tests.support.waiting import await_true

pytestmark = pytest.mark.real

SOURCE = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"VERSION"})
"""
HALF_TYPED = "def app(:\n"
FAILING = "\n\ndef connect():\n    raise LookupError('no such table')\n\nconnect()\n"


NOT_STARTING = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no such database"})
"""


def write(directory: Path, version: str) -> None:
    """Write a good version; its name is of another length than the last one's.

    Python takes a file of the same size and second for the one that it has compiled.
    """
    (directory / "shop.py").write_text(SOURCE.replace("VERSION", version))


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_the_old_code_serves_while_the_new_cannot_be_imported(tmp_path: Path, preload: str) -> None:
    """The error is on the page with its place; the next version that can be imported is served."""
    write(tmp_path, "old")
    arguments = ("shop:app", "--app-dir", str(tmp_path), "--workers", "1", "--reload", preload)
    with Running(*arguments) as server:
        before = server.worker_pids()
        (tmp_path / "shop.py").write_text(HALF_TYPED)
        told = "importing shop:app failed: SyntaxError: invalid syntax (shop.py, line 1)"
        await_true(lambda: told in _events(server), "the error among the page's events", 15.0)

        assert server.get("/").body == b"old"
        assert server.worker_pids() == before
        assert "SyntaxError: invalid syntax" in server.log

        write(tmp_path, "mended")
        await_true(lambda: server.get("/").body == b"mended", "the new code", 15.0)


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_the_old_code_serves_while_the_new_does_not_start(tmp_path: Path, preload: str) -> None:
    """Imported, but its startup fails; and what is mended is served without a long wait."""
    write(tmp_path, "old")
    arguments = ("shop:app", "--app-dir", str(tmp_path), "--workers", "2", "--reload", preload)
    with Running(*arguments) as server:
        (tmp_path / "shop.py").write_text(NOT_STARTING)
        await_true(lambda: "no successor came up" in server.log, "the failure", 15.0)
        assert server.get("/").body == b"old"
        assert "no such database" in server.log

        write(tmp_path, "mended")
        await_true(lambda: server.get("/").body == b"mended", "the new code", 15.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HALF_TYPED, "SyntaxError: invalid syntax (shop.py, line 1)"),
        (FAILING, "LookupError: no such table (shop.py, line 4)"),
    ],
    ids=["half typed", "failing"],
)
def test_where_nothing_was_ever_imported_the_error_is_answered(
    tmp_path: Path, text: str, told: str
) -> None:
    """At once, to whatever is asked; and the server serves once the file is mended."""
    (tmp_path / "shop.py").write_text(text)
    port = free_port()
    words = ["shop:app", "--app-dir", str(tmp_path), "--reload", "--port", str(port)]
    with subprocess.Popen(
        command([*words, "--workers", "1"]),
        cwd=tmp_path,
        env=clean_environment() | {"XDG_RUNTIME_DIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            await_true(lambda: _ask(port) is not None, "an answer")
            begun = time.monotonic()
            for asked in (_ask(port), _ask(port, "POST", b"x" * 100_000)):
                assert asked is not None
                assert asked.status == 503
                assert asked.json()["detail"] == f"importing shop:app failed: {told}"
            assert time.monotonic() - begun < 3.0

            write(tmp_path, "mended")
            await_true(lambda: getattr(_ask(port), "body", b"") == b"mended", "the code", 15.0)
            server.send_signal(signal.SIGTERM)
            _, log = server.communicate(timeout=20.0)
        finally:
            if server.poll() is None:
                server.kill()
    assert server.returncode == 0, log
    assert f"http://127.0.0.1:{port} answers 503 with that until a file is changed" in log


def _events(server: Running) -> str:
    return "\n".join(each["text"] for each in server.get("/tonnage/state").json()["events"])


def _ask(port: int, method: str = "GET", body: bytes | None = None) -> Response | None:
    try:
        with connection_to(f"http://127.0.0.1:{port}", 5.0) as connection:
            return exchange(connection, method, "/any", body)
    except ConnectionRefusedError:
        return None
