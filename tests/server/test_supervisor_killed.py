"""What becomes of workers whose supervisor is killed: they finish what they have begun, and end.

Also where one was held just then, as the brake does: nobody is left who would let it go on.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.support.process import is_stopped
from tests.support.server import Running
from tests.support.waiting import Ends, await_true

from tonnage.host.processes import descendants

pytestmark = pytest.mark.real

APP = "tests.promises.apps:app"
LIMIT = ("--memory", "512M")
END_SECONDS = 5.0

# A request that takes as long as a program does; and one that takes longer than anybody waits.
SOURCE = """
import subprocess

def app(environ, start_response):
    subprocess.run(["sleep", environ["QUERY_STRING"]], check=True)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
"""


def test_workers_end_when_the_supervisor_is_killed() -> None:
    """Nobody would replace them, or answer for them; the port is free again."""
    with Running(APP, *LIMIT) as server:
        tree = Ends(server.tree())
        server.send(signal.SIGKILL)
        assert server.await_end(tree, 10.0) == -signal.SIGKILL
        port = server.port
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_a_worker_that_is_stopped_ends_too(preload: str) -> None:
    """Its application is shut down as ever."""
    with Running(APP, *LIMIT, "--workers", "2", preload) as server:
        stopped = server.worker_pids()[0]
        with left_alone(server):
            hold(stopped)

    assert f"lifespan shutdown in {stopped}" in server.log


def test_a_program_that_is_stopped_goes_on(tmp_path: Path) -> None:
    """The request that waits for it is answered, and its worker ends."""
    with serving_programs(tmp_path) as server, ThreadPoolExecutor(1) as client:
        answer = client.submit(server.get, "/?0.5")
        with left_alone(server):
            hold(program_of(server))

        assert answer.result().body == b"done"


def test_a_worker_has_no_longer_than_usual_to_finish(tmp_path: Path) -> None:
    """A request in a thread cannot be cancelled; nobody else would end its worker."""
    with serving_programs(tmp_path) as server, ThreadPoolExecutor(1) as client:
        answer = client.submit(server.get, "/?20")
        program = program_of(server)
        with left_alone(server, but=program):
            pass

        assert answer.result().status == 500
        os.kill(program, signal.SIGKILL)


@contextmanager
def left_alone(server: Running, *, but: int = 0) -> Iterator[None]:
    """Kill the supervisor at the end; every process of the tree, *but* one, has to end soon."""
    pids = set(server.tree()) - {but}
    tree = Ends(pids)
    yield
    server.send(signal.SIGKILL)
    try:
        assert server.await_end(tree, END_SECONDS) == -signal.SIGKILL
    except AssertionError:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        raise


@contextmanager
def serving_programs(directory: Path) -> Iterator[Running]:
    """Yield a server of one worker, each request of which takes as long as a program."""
    (directory / "programs.py").write_text(SOURCE)
    arguments = ("--app-dir", str(directory), "--workers", "1", "--stop-seconds", "2")
    with Running("programs:app", *LIMIT, *arguments) as server:
        yield server


def program_of(server: Running) -> int:
    """Return the program that the only worker has started, once it has."""
    (worker,) = server.worker_pids()
    (program,) = await_true(lambda: descendants(worker), "the program")
    return program


def hold(pid: int) -> None:
    """Stop a process, as the brake does."""
    os.kill(pid, signal.SIGSTOP)
    await_true(lambda: is_stopped(pid), "it is stopped")
