"""Whether a process can be forked after its imports."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from tests.support.descriptors import close_garbage

from tonnage.host.descriptors import open_descriptors
from tonnage.host.forksafety import sockets_opened, why_not_fork

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")

THREADED = """
import threading
from tonnage.host.forksafety import why_not_fork
alone = why_not_fork()
stop = threading.Event()
threads = [threading.Thread(target=stop.wait, name=f"flusher-{n}") for n in range(2)]
for thread in threads:
    thread.start()
print(alone, why_not_fork(), sep="|")
stop.set()
"""


def test_threads_are_named() -> None:
    """A process with one thread may be forked; one that has started others says which."""
    done = subprocess.run(
        [sys.executable, "-c", THREADED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )

    alone, threaded = done.stdout.strip().split("|")
    assert alone == "None"
    assert threaded == "importing the application started 2 thread(s): flusher-0, flusher-1"
    assert why_not_fork.__doc__


def test_connections_that_were_opened_are_named() -> None:
    """With their other end; what was open before does not count, nor do files."""
    with socket.create_server(("127.0.0.1", 0)) as door, open(os.devnull, "rb"):
        port = door.getsockname()[1]
        close_garbage()
        known = open_descriptors()
        assert sockets_opened(known) == []

        with socket.create_connection(("127.0.0.1", port)) as client:
            fd = client.fileno()
            assert sockets_opened(known) == [f"a connection to 127.0.0.1:{port} (descriptor {fd})"]


def test_sockets_without_another_end_are_named_too() -> None:
    """One that listens, and one of a pair, which has no address."""
    close_garbage()
    known = open_descriptors()
    with socket.create_server(("127.0.0.1", 0)) as door:
        assert sockets_opened(known) == [f"a socket (descriptor {door.fileno()})"]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert len(sockets_opened(known)) == 2
