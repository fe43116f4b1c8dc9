"""``tonnage run`` as a real process, for tests of what it promises as a whole.

    with Running("benchmarks.app:app", "--memory", "512M") as server:
        assert server.get("/").json() == {"hello": "world"}

The block begins once the banner is out, that is, once every worker accepts; it ends with SIGTERM,
and then asserts that the exit status is 0 and that no process of the tree is left. A server that
is meant to fail is for :func:`run_to_end`. Loads are not made here (``benchmarks.load``), nor
memory limits (``tests.support.cgroup``).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from tests.support.cgroup import MemoryBox
from tests.support.slowness import SLOWNESS
from tests.support.waiting import Ends, await_true

from tonnage.host.processes import descendants

ROOT = Path(__file__).resolve().parents[2]

_START_SECONDS = 30.0
_STOP_SECONDS = 20.0
# Only what a process needs to run: no setting of this shell may reach the server under test.
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
_KEPT_PREFIX = "COVERAGE_"


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Running:
    """A running server; a context manager."""

    def __init__(
        self,
        *arguments: str,
        box: MemoryBox | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        pass_fds: Sequence[int] = (),
        wrapper: Sequence[str] = (),
        python: str = sys.executable,
    ) -> None:
        """Prepare the command.

        Args:
            arguments: what follows ``tonnage run``: the target and its options. Without ``--port``,
                ``--uds`` or ``--fd`` the server takes a free port.
            box: the memory cgroup to run in.
            env: variables beside those that every process needs.
            cwd: the working directory.
            pass_fds: descriptors that the server inherits.
            wrapper: a command that runs the server's command.
            python: the interpreter.
        """
        self._arguments = list(arguments)
        if not {"--port", "--uds", "--fd"}.intersection(arguments):
            self._arguments += ["--port", "0"]
        self._box = box
        self._env = dict(env or {})
        self._cwd = cwd
        self._pass_fds = pass_fds
        self._wrapper = list(wrapper)
        self._python = python
        self._stack = ExitStack()
        self._ended_log: str | None = None

    def __enter__(self) -> Self:
        # Also where the control socket goes: its path must be short, so this is not tmp_path.
        runtime = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tonnage-test-"))
        self._log: IO[bytes] = self._stack.enter_context(tempfile.TemporaryFile())
        self.process = subprocess.Popen(
            self._wrapper + command(self._arguments, self._python),
            cwd=self._cwd,
            env=clean_environment()
            | {"XDG_RUNTIME_DIR": runtime, "XDG_STATE_HOME": runtime}
            | self._env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=self._pass_fds,
            preexec_fn=self._box.enter if self._box else None,
        )
        try:
            await_true(self._has_started, "the banner", _START_SECONDS)
        except BaseException as error:
            error.add_note(self.log)
            self._end_by_force()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if error is not None:
                error.add_note(f"the server's log:\n{self.log[-6000:]}")
            elif self.process.poll() is None:
                assert self.stop() == 0, self.log
        finally:
            self._end_by_force()

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self.process.pid

    @property
    def log(self) -> str:
        """What the server has printed so far, banner and application included."""
        if self._ended_log is not None:
            return self._ended_log
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    @property
    def url(self) -> str:
        """The application's URL, as the banner has it."""
        return self.banner("app")

    @property
    def port(self) -> int:
        """The application's port."""
        return int(self.url.rpartition(":")[2])

    @property
    def control(self) -> Path:
        """The control socket."""
        return Path(self.banner("control"))

    def banner(self, label: str) -> str:
        """Return what the banner says under *label*."""
        found = re.search(rf"^  {re.escape(label)}  +(.*)$", self.log, re.MULTILINE)
        assert found is not None, f"no line {label!r} in the banner:\n{self.log}"
        return found.group(1)

    def get(self, path: str, **headers: str) -> Response:
        """Ask for *path* on a connection of its own."""
        return self.request("GET", path, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 20.0,
    ) -> Response:
        """Send a request on a connection of its own; ``_`` in header names stands for ``-``."""
        with connection_to(self.url, timeout_seconds) as connection:
            return exchange(connection, method, path, body, headers)

    def connect(self, timeout_seconds: float = 20.0) -> socket.socket:
        """Return a bare connection to the application's port."""
        return socket.create_connection(("127.0.0.1", self.port), timeout_seconds)

    def ask_supervisor(self, path: str) -> Response:
        """Ask for *path* on the control socket, where the supervisor itself answers."""
        with connection_to(f"http+unix://{self.control}", 5.0) as connection:
            return exchange(connection, "GET", path)

    def health_memory(self) -> dict[str, Any]:
        """Return what ``/health/memory`` says on the application's port."""
        answer = self.get("/health/memory")
        assert answer.status == 200, answer
        found: dict[str, Any] = answer.json()
        return found

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers that serve, as the supervisor has them."""
        workers = self.ask_supervisor("/health/memory").json()["workers"]
        return sorted(each["pid"] for each in workers if each["state"] in ("READY", "STUCK"))

    def zygote_pid(self) -> int:
        """Return the zygote's process id: the supervisor's child that is no worker."""
        return min(set(descendants(self.pid)) - set(self.worker_pids()))

    def tree(self) -> list[int]:
        """Return the supervisor and all that descends from it."""
        return [self.pid, *descendants(self.pid)]

    def send(self, number: int) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM, within_seconds: float = _STOP_SECONDS) -> int:
        """Stop the server with *number* and return its exit status.

        Raises:
            AssertionError: it, or a process of its tree, is still there *within_seconds*.
        """
        tree = Ends(self.tree())
        self.send(number)
        return self.await_end(tree, within_seconds)

    def await_end(self, tree: Ends, within_seconds: float = _STOP_SECONDS) -> int:
        """Wait until the server and *tree* have ended, and return the server's exit status."""
        try:
            status = self.process.wait(within_seconds * SLOWNESS)
            left = tree.await_all(within_seconds)
            assert not left, f"still running after the server has ended: {left}\n{self.log}"
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not ended in {within_seconds:g} s:\n{self.log}") from None
        finally:
            tree.close()
        return status

    def _has_started(self) -> bool:
        status = self.process.poll()
        assert status is None, f"the server ended with status {status} instead of starting"
        # The last line of the banner that is always there.
        return re.search(r"^  wake-ups .*\n", self.log, re.MULTILINE) is not None

    def _end_by_force(self) -> None:
        """Leave nothing running, whatever has happened."""
        if self.process.poll() is None:
            tree = self.tree()
            for pid in tree:
                _kill(pid)
            self.process.wait()
        self._ended_log = self.log
        self._stack.close()


def run_to_end(
    *arguments: str,
    box: MemoryBox | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    within_seconds: float = 30.0,
) -> subprocess.CompletedProcess[str]:
    """Run ``tonnage run`` with *arguments* until it ends by itself; for starts that must fail.

    In the memory cgroup of *box*, if that is given.
    """
    with tempfile.TemporaryDirectory(prefix="tonnage-test-") as runtime:
        return subprocess.run(
            command(arguments),
            cwd=cwd,
            env=clean_environment() | {"XDG_RUNTIME_DIR": runtime} | dict(env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_seconds * SLOWNESS,
            check=False,
            preexec_fn=box.enter if box else None,
        )


def command(arguments: Sequence[str], python: str = sys.executable) -> list[str]:
    """Return the command that starts a server, with this interpreter or with *python*."""
    return [python, "-m", "tonnage", "run", *arguments]


def clean_environment() -> dict[str, str]:
    """Return an environment in which only the checkout is importable, and no option is set."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT_VARIABLES or name.startswith(_KEPT_PREFIX)
    }
    return kept | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}


@contextmanager
def connection_to(url: str, timeout_seconds: float) -> Iterator[http.client.HTTPConnection]:
    """Yield an HTTP connection to *url* (``http://`` or ``http+unix://``)."""
    scheme, _, place = url.partition("://")
    timeout_seconds *= SLOWNESS
    connection = http.client.HTTPConnection("127.0.0.1", timeout=timeout_seconds)
    if scheme == "http+unix":
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(timeout_seconds)
        connection.sock.connect(place)
    else:
        connection.port = int(place.rpartition(":")[2].split("/")[0])
    try:
        yield connection
    finally:
        connection.close()


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Send one request on *connection* and read the whole answer."""
    named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    found = {name.lower(): value for name, value in answer.getheaders()}
    return Response(answer.status, found, answer.read())


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has ended by itself
