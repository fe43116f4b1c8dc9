"""A server that speaks MongoDB's wire protocol, for tests: nx-27017, from a package.

    with MongoServer() as server:
        AsyncMongoClient(server.url)
        server.kill()            # SIGKILL, and
        server.start()           # again, at the same address, with the same data

Underneath it is SQLite. It knows CRUD, indexes, cursors in batches, transactions, and how many
connections there are; not replica sets, and no validators. ``TEST_MONGO_URL`` names a real mongod
of yours for the tests that need not stop it (:func:`mongo_urls`); its user must be allowed to make
databases and to drop them.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.support.missing import give_up
from tests.support.ports import free_port
from tests.support.waiting import await_true

_MAIN = "from nx_27017.nx_27017 import main; main()"
_serial = itertools.count()


def need_mongo() -> None:
    """Skip the test where no server can be started; fail instead where ``CI`` is ``true``."""
    if importlib.util.find_spec("nx_27017") is None:
        give_up("a server for MongoDB's protocol", "the package nx-27017 is not installed")


class MongoServer:
    """One server at one loopback port, with its data in a temporary directory."""

    def __init__(self) -> None:
        need_mongo()
        self._directory = tempfile.TemporaryDirectory(prefix="tonnage-mongo-")
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        #: Its address, without a database.
        self.url = f"mongodb://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it; it takes connections when this returns."""
        place = Path(self._directory.name)
        # fmt: off
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, "--port", str(self._port), "--data-dir", place / "data",
             "--pid-file", place / "pid", "--log-file", place / "log"],
            cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        # fmt: on
        await_true(self._answers, "the server for MongoDB's protocol to answer", 20)

    def kill(self) -> None:
        """End it with SIGKILL; what it has answered is on disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            # It would take the number in there for a server that runs.
            (Path(self._directory.name) / "pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """Have it stand still: connections are accepted, and nothing is answered."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def unread(self) -> int:
        """Return on how many connections something waits that it has not read."""
        here = f"0100007F:{self._port:04X}"
        lines = [each.split() for each in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(each[1] == here and not each[4].endswith(":00000000") for each in lines)

    def database(self) -> str:
        """Return the URL of a database that nobody has used yet."""
        return f"{self.url}/{_new_name()}"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"nx-27017 ended with {self._process.poll()}"
        try:
            socket.create_connection(("127.0.0.1", self._port), 1).close()
        except OSError:
            return False
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._directory.cleanup()


@contextmanager
def mongo_urls() -> Iterator[Callable[[], str]]:
    """Yield what returns the URL of an empty database; on your server, or on one started here."""
    given = os.environ.get("TEST_MONGO_URL")
    if not given:
        with MongoServer() as server:
            yield server.database
        return
    made: list[str] = []

    def make() -> str:
        made.append(_new_name())
        return _with_database(given, made[-1])

    try:
        yield make
    finally:
        with direct(given) as client:
            for name in made:
                client.drop_database(name)


@contextmanager
def direct(url: str) -> Iterator[Any]:
    """Yield PyMongo's own synchronous client, for what a test does beside what it tests."""
    from pymongo import MongoClient

    client: MongoClient[dict[str, Any]] = MongoClient(url, serverSelectionTimeoutMS=10_000)
    try:
        yield client
    finally:
        client.close()


def _new_name() -> str:
    return f"tonnage_{os.getpid()}_{next(_serial)}"


def _with_database(url: str, name: str) -> str:
    """Return *url* with another database; what is behind its ``?`` stays."""
    base, mark, options = url.partition("?")
    scheme, _, rest = base.partition("://")
    return f"{scheme}://{rest.split('/')[0]}/{name}{mark}{options}"
