"""A job belongs to the request that asked for it: nobody waits for that, nobody pays for it."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.support.ports import free_port
from tests.support.server import ROOT, Running, clean_environment, connection_to, exchange
from tests.support.waiting import await_true

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server with one worker and two slots."""
    options = ("--memory", "900M", "--workers", "1", "--job-slots", "2", "--job-memory", "64M")
    with Running("tests.jobs.leaving_app:app", *options) as running:
        yield running


def leave(port: int, path: str, notes: Path) -> int:
    """Ask for *path*, go when the job has begun, and return the job's process."""
    with closing(socket.create_connection(("127.0.0.1", port), 20.0)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nhost: it\r\n\r\n".encode())
        return job_pid(notes)


def job_pid(notes: Path) -> int:
    """Return the process that has noted that it has begun."""

    def begun() -> bool:
        return notes.exists() and "\n" in notes.read_text()

    await_true(begun, "the job's first line")
    return int(notes.read_text().split()[0])


def await_end(pid: int) -> None:
    """Wait until process *pid* is gone, long before it would have ended by itself."""
    await_true(lambda: not Path(f"/proc/{pid}").exists(), "the job's end")


def await_done(notes: Path) -> None:
    """Wait until a job has noted its end."""
    await_true(lambda: notes.exists() and "done" in notes.read_text(), "the job's last line")


@pytest.mark.parametrize("way", ["later", "threaded"])
def test_a_client_that_goes_away_ends_its_job(server: Running, tmp_path: Path, way: str) -> None:
    """Quietly, in the event loop and in a thread, and when its route is known to be small too."""
    for each in range(3):
        notes = tmp_path / f"{each}"
        await_end(leave(server.port, f"/{way}?path={notes}", notes))
    assert "Traceback" not in server.log


def test_a_job_that_waits_for_its_turn_does_not_keep_it(server: Running, tmp_path: Path) -> None:
    """Once its client is gone."""
    notes = [tmp_path / name for name in ("one", "two", "three")]
    clients = [server.connect() for _ in notes]
    try:
        for client, note in zip(clients, notes, strict=True):
            client.sendall(f"GET /later?path={note} HTTP/1.1\r\nhost: it\r\n\r\n".encode())
        await_true(lambda: jobs(server)["waiting"] == 1, "a job that waits")
        waiting = next(i for i, note in enumerate(notes) if not note.exists())
        clients[waiting].close()
        await_true(lambda: jobs(server)["waiting"] == 0, "its turn's end")
        assert jobs(server)["running"] == 2
    finally:
        for client in clients:
            client.close()
    await_true(lambda: jobs(server)["running"] == 0, "the jobs' end")


def jobs(server: Running) -> dict[str, int]:
    """Return how many run and wait."""
    found: dict[str, int] = server.health_memory()["jobs"]
    return found


def test_a_request_s_time_out_ends_a_job_that_a_thread_waits_for(
    server: Running, tmp_path: Path
) -> None:
    """The thread is free then, too."""
    notes = tmp_path / "notes"
    assert server.get(f"/timed?path={notes}").status == 504
    await_end(job_pid(notes))


def test_what_is_asked_for_behind_the_response_is_done(server: Running, tmp_path: Path) -> None:
    """Its client need not wait for it."""
    notes = tmp_path / "notes"
    leave(server.port, f"/behind?path={notes}", notes)
    await_done(notes)


def test_what_is_asked_for_once_the_request_has_ended_is_done(
    server: Running, tmp_path: Path
) -> None:
    """Though it was begun by a request whose client has gone."""
    notes, then = tmp_path / "notes", tmp_path / "then"
    await_end(leave(server.port, f"/handed-on?path={notes}&then={then}", notes))
    await_done(then)


def test_a_job_with_an_id_is_nobody_s_alone(server: Running, tmp_path: Path) -> None:
    """Others may wait for it."""
    notes = tmp_path / "notes"
    leave(server.port, f"/shared?path={notes}", notes)
    await_done(notes)


def test_under_uvicorn_with_the_middleware(tmp_path: Path) -> None:
    """A client that goes ends its job, and what a job's error means is answered."""
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", "tests.jobs.leaving_app:app", "--port", f"{port}")
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=clean_environment(), stdout=log, stderr=subprocess.STDOUT
        )
        try:
            await_true(lambda: accepts(port), "the server")
            notes = tmp_path / "left"
            await_end(leave(port, f"/threaded?path={notes}", notes))
            with connection_to(f"http://127.0.0.1:{port}", 20.0) as connection:
                assert exchange(connection, "GET", f"/late?path={tmp_path / 'late'}").status == 504
        finally:
            process.terminate()
            process.wait(20.0)


def accepts(port: int) -> bool:
    """Return whether somebody listens there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


def test_under_flask_both_end_it(tmp_path: Path) -> None:
    """A client that goes, and the time-out of the request."""
    options = ("--memory", "600M", "--workers", "1", "--timeout", "2s")
    with Running("tests.jobs.leaving_wsgi_app:app", *options) as server:
        notes = tmp_path / "left"
        await_end(leave(server.port, f"/threaded?path={notes}", notes))
        assert "was not answered within" not in server.log
        notes = tmp_path / "timed"
        assert server.get(f"/threaded?path={notes}").status == 504
        await_end(job_pid(notes))
