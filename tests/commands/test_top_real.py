"""`tonnage top` in a real terminal, of a real server: seen, steered, and given back as it was."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
from tests.support.server import ROOT, Running, clean_environment
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true

pytestmark = pytest.mark.real

# Control sequences of an xterm: to and from its second screen, a colour.
ENTERED, LEFT = "\x1b[?1049h", "\x1b[?1049l"
COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|4[0-7]|[34]8;5;\d+)m")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server with two workers."""
    with Running("benchmarks.app:app", "--workers", "2", "--memory", "512M") as running:
        yield running


class Person:
    """Somebody at a terminal, where `tonnage top` runs."""

    def __init__(self, server: Running, *, size: tuple[int, int] = (24, 80), **env: str) -> None:
        self._master, self._slave = pty.openpty()
        self.resize(*size)
        self._attributes = termios.tcgetattr(self._slave)
        self.seen = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tonnage", "top", "--control", str(server.control)],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            cwd=ROOT,
            env=clean_environment() | {"TERM": "xterm-256color", "LANG": "C.UTF-8", **env},
            # Its own session, whose terminal this is: then Ctrl-C and a new size reach it.
            preexec_fn=self._take_terminal,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)
        os.close(self._slave)

    def _take_terminal(self) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSCTTY, 0)

    def resize(self, lines: int, columns: int) -> None:
        """Have the window be so large."""
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def sees(self, what: str | re.Pattern[str]) -> None:
        """Wait for *what* to be sent; what came before is forgotten."""
        pattern = re.compile(re.escape(what)) if isinstance(what, str) else what
        found = await_true(lambda: pattern.search(self._redrawn()), repr(what))
        self.seen = self.seen[found.end() :]

    def _redrawn(self) -> str:
        # Usually only what has changed is sent.
        if select.select([self._master], [], [], 0.1)[0]:
            return self._read()
        self.press("\x0c")
        return self.seen

    def _read(self) -> str:
        while select.select([self._master], [], [], 0)[0]:
            self.seen += os.read(self._master, 65536).decode(errors="replace")
        return self.seen

    def end(self, number: int | None = None) -> int:
        """Wait for the end, after the signal *number*; return the exit status."""
        if number is not None:
            self._process.send_signal(number)
        deadline = time.monotonic() + 10.0 * SLOWNESS
        while self._process.poll() is None:
            # Who does not read would hold it up.
            self._read()
            assert time.monotonic() < deadline, self.seen
            time.sleep(0.01)
        self._read()
        assert termios.tcgetattr(self._slave) == self._attributes
        return self._process.returncode


def test_a_server_is_watched_and_steered(server: Running) -> None:
    """From its level to a worker that is replaced; then the terminal is as it was."""
    with Person(server) as person:
        person.sees(ENTERED)
        person.sees(f"pid {server.pid}")
        person.sees(" OK ")
        person.sees("2/2 workers")
        person.sees("q quit")
        person.press("c")
        person.sees("give memory back, in every worker? y / n")
        person.press("y")
        person.sees("2 worker(s) give memory back")
        old = set(server.worker_pids())
        person.press("\x1bOBr")
        person.sees("Replace worker 1? y / n")
        person.press("y")
        person.sees("worker 1 is being replaced")
        await_true(lambda: len(set(server.worker_pids()) & old) == 1, "a worker is replaced")
        person.resize(40, 100)
        person.sees(re.compile(r"\x1b\[40(;\d+)?[Hd]"))
        person.sees("worker 1 is being replaced")
        person.press("q")
        assert person.end() == 0
        assert LEFT in person.seen


@pytest.mark.parametrize(
    ("leave", "status"),
    [
        (lambda person: person.end(signal.SIGTERM), 143),
        (lambda person: person.press("\x03"), 130),
        (lambda person: person.press("q"), 0),
    ],
)
def test_the_terminal_is_given_back_however_it_ends(
    server: Running, leave: Callable[[Person], Any], status: int
) -> None:
    """By SIGTERM, by Ctrl-C, by a key."""
    with Person(server) as person:
        person.sees("q quit")
        leave(person)
        assert person.end() == status
        assert LEFT in person.seen


def test_colours_are_shown_where_they_are_wanted(server: Running) -> None:
    """Not where NO_COLOR is set: there, letters say who holds what."""
    with Person(server) as person:
        person.sees(COLOUR)
        person.press("q")
        assert person.end() == 0
    with Person(server, NO_COLOR="1") as person:
        person.sees("s supervisor")
        person.sees("q quit")
        assert not COLOUR.search(person.seen)
        person.press("q")
        assert person.end() == 0
        assert not COLOUR.search(person.seen)


def test_a_terminal_that_is_not_known_is_a_mistake(server: Running) -> None:
    """With what to try."""
    with Person(server, TERM="never-heard-of") as person:
        assert person.end() == 2
        assert "the terminal type never-heard-of is not known here: try TERM=xterm" in person.seen


def test_a_pipe_gets_one_frame(server: Running) -> None:
    """And exit status 0."""
    done = subprocess.run(
        [sys.executable, "-m", "tonnage", "top", "--control", str(server.control)],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
        env=clean_environment(),
        check=True,
        text=True,
    )
    assert f"pid {server.pid}" in done.stdout
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout
