"""One plain connection, for what a command asks a database beside its work: reports and locks.

    with open_session(url) as session:
        rows = session.rows("SELECT relname FROM pg_class")

Promises: the driver alone, without SQLAlchemy: PostgreSQL by asyncpg, or else psycopg; SQLite by
Python's own module, in which case the file must exist. MySQL, for which there are only locks, by
PyMySQL, as SQLAlchemy would call it. Every statement commits by itself, and may take as long as was
said. No password is in any error.

Not for applications: there is no pool, calls block, and with asyncpg the thread may not run an
event loop meanwhile. Bounded by its statements: all rows of one are in memory at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote

from tonnage.db.drivers import asyncpg as asyncpg_table
from tonnage.db.drivers import psycopg as psycopg_table
from tonnage.db.settings import current
from tonnage.errors import ConfigError, DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tonnage.db.urls import DatabaseUrl
    from tonnage.settings import DatabaseSettings

#: How long a server may take to say good-bye.
CLOSE_SECONDS: Final = 5.0

Row = dict[str, Any]


class Session(Protocol):
    """A connection that runs one statement after the other."""

    def rows(self, statement: str) -> list[Row]:
        """Return the rows of *statement*; raises DatabaseError if the database does not do it."""

    def close(self) -> None:
        """Close the connection."""


@contextmanager
def open_session(url: DatabaseUrl, *, statement_seconds: float = 30.0) -> Iterator[Session]:
    """Yield a connection to *url*, whose statements may take *statement_seconds*.

    Raises:
        ConfigError: no driver for it is installed.
        DatabaseError: the database does not answer, or refuses.
    """
    session = _KINDS[_kind(url)](url, statement_seconds)
    try:
        yield session
    finally:
        session.close()


def _kind(url: DatabaseUrl) -> str:
    if url.dialect == "postgresql":
        # What is asked for, and what knows all that the URL says, before what is small.
        wants_psycopg = url.driver == "psycopg" or bool(url.options.keys() - asyncpg_table.KNOWN)
        drivers = ("psycopg", "asyncpg") if wants_psycopg else ("asyncpg", "psycopg")
        for driver in drivers:
            if find_spec(driver):
                return driver
        raise ConfigError("a driver for PostgreSQL is needed: pip install 'tonnage[postgres]'")
    if url.dialect in _KINDS:
        return url.dialect
    raise ConfigError(f"{url.shown} is a kind of database that this command does not know")


def _settings(statement_seconds: float) -> DatabaseSettings:
    return replace(current(), statement_timeout_seconds=statement_seconds)


class _Asyncpg:
    """asyncpg, in an event loop that turns only while a statement runs."""

    def __init__(self, url: DatabaseUrl, statement_seconds: float) -> None:
        import asyncio

        import asyncpg  # type: ignore[import-untyped]

        self._errors = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
        given = asyncpg_table.connect_arguments(url, _settings(statement_seconds))
        self._runner = asyncio.Runner()
        try:
            self._connection = self._runner.run(
                self._awaited(asyncpg.connect(**{**given, "statement_cache_size": 0}))
            )
        except self._errors as error:
            self._runner.close()
            raise refusal(error, url.shown) from error
        except BaseException:
            self._runner.close()
            raise

    def rows(self, statement: str) -> list[Row]:
        """Return the rows of *statement*."""
        return [dict(row) for row in self._run(self._connection.fetch(statement))]

    def close(self) -> None:
        """Close the connection, or leave it where the server does not answer."""
        try:
            self._run(self._connection.close(timeout=CLOSE_SECONDS))
        except DatabaseError:
            self._connection.terminate()
        finally:
            self._runner.close()

    async def _awaited(self, awaitable: Any) -> Any:
        return await awaitable

    def _run(self, awaitable: Any) -> Any:
        try:
            return self._runner.run(self._awaited(awaitable))
        except self._errors as error:
            raise refusal(error) from error


class _Psycopg:
    """psycopg, for where asyncpg is not installed."""

    def __init__(self, url: DatabaseUrl, statement_seconds: float) -> None:
        import psycopg
        from psycopg.rows import dict_row

        self._errors = (psycopg.Error, OSError)
        given = psycopg_table.connect_arguments(url, _settings(statement_seconds))
        try:
            self._connection: psycopg.Connection[Row] = psycopg.connect(
                **given, autocommit=True, row_factory=dict_row
            )
        except self._errors as error:
            raise refusal(error, url.shown) from error

    def rows(self, statement: str) -> list[Row]:
        """Return the rows of *statement*."""
        try:
            cursor = self._connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
        except self._errors as error:
            raise refusal(error) from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class _Sqlite:
    """Python's own module; a file is read, never made or written."""

    def __init__(self, url: DatabaseUrl, statement_seconds: float) -> None:
        import sqlite3

        self._errors = (sqlite3.Error,)
        self._seconds = statement_seconds
        path = sqlite_path(url)
        if path is None:
            raise ConfigError("a database in memory is gone when its process ends: name a file")
        try:
            if not path.is_file():
                raise DatabaseError(f"there is no database {path}")
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro",
                uri=True,
                timeout=statement_seconds,
                isolation_level=None,
            )
        except (*self._errors, OSError) as error:
            raise refusal(error, url.shown) from error
        self._connection.row_factory = sqlite3.Row

    def rows(self, statement: str) -> list[Row]:
        """Return the rows of *statement*."""
        # SQLite has no time-out of its own but for locks.
        watch = threading.Timer(self._seconds, self._connection.interrupt)
        watch.start()
        try:
            return [dict(row) for row in self._connection.execute(statement)]
        except self._errors as error:
            if watch.finished.is_set():
                raise DatabaseError(f"it took longer than {self._seconds:g} s") from error
            raise refusal(error) from error
        finally:
            watch.cancel()
            watch.join()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class _Mysql:
    """PyMySQL."""

    def __init__(self, url: DatabaseUrl, statement_seconds: float) -> None:
        try:
            import pymysql  # type: ignore[import-untyped]
        except ImportError as error:
            raise ConfigError("a driver for MySQL is needed: pip install pymysql") from error
        from pymysql.cursors import DictCursor  # type: ignore[import-untyped]

        from tonnage.db.drivers import sqlalchemy as sqlalchemy_table

        self._errors = (pymysql.MySQLError, OSError)
        # Who migrates has SQLAlchemy, which knows what PyMySQL calls all that a URL may say.
        given = sqlalchemy_table.arguments(url, _settings(statement_seconds), 1, is_async=False)
        _, named = given["url"].get_dialect()().create_connect_args(given["url"])
        try:
            self._connection = pymysql.connect(
                **{**named, **given["connect_args"]}, autocommit=True, cursorclass=DictCursor
            )
        except self._errors as error:
            raise refusal(error, url.shown) from error

    def rows(self, statement: str) -> list[Row]:
        """Return the rows of *statement*."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        except self._errors as error:
            raise refusal(error) from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


_KINDS: Final[Mapping[str, Callable[[DatabaseUrl, float], Session]]] = {
    "asyncpg": _Asyncpg,
    "psycopg": _Psycopg,
    "sqlite": _Sqlite,
    "mysql": _Mysql,
}


def sqlite_path(url: DatabaseUrl) -> Path | None:
    """Return the file that *url*, one of SQLite, names; None: a database in memory."""
    # sqlite:///relative, sqlite:////absolute
    _, _, rest = url.address.partition("://")
    path = unquote(rest.partition("?")[0])[1:]
    return None if path in ("", ":memory:") else Path(path)


def refusal(error: BaseException, shown: str | None = None) -> DatabaseError:
    """Return what to tell of *error*, a driver's: its text in one line.

    With *shown*, the database could not be connected to.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    what = "the database refuses" if shown is None else f"{shown} cannot be connected to"
    return DatabaseError(f"{what}: {text}")
