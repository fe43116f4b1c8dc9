"""SQLAlchemy's engines on SQLite, made of what a URL says; each is really asked."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.db.drivers_settings import options

from tonnage.db.drivers.sqlalchemy import arguments
from tonnage.db.urls import read_url
from tonnage.settings import DatabaseSettings

sqlalchemy = pytest.importorskip("sqlalchemy")


def engine(text: str, limit: int = 2, settings: DatabaseSettings | None = None) -> Any:
    """Return an engine of SQLAlchemy's own, told what the table says."""
    return sqlalchemy.create_engine(
        **arguments(read_url(text), settings or options(), limit, is_async=False)
    )


def async_engine(text: str, limit: int = 2) -> Any:
    """The same, asynchronous."""
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(**arguments(read_url(text), options(), limit, is_async=True))


def pragma(connection: Any, name: str) -> Any:
    """Return what SQLite says."""
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def test_a_file_has_its_rules(tmp_path: Path) -> None:
    """Each connection: a log, foreign keys, a wait for locks as long as the options say."""
    made = engine(f"sqlite:///{tmp_path}/app.db", settings=options(lock_timeout_seconds=1.5))
    with made.connect() as first, made.connect() as second:
        for connection in (first, second):
            assert pragma(connection, "journal_mode") == "wal"
            assert pragma(connection, "foreign_keys") == 1
            assert pragma(connection, "busy_timeout") == 1500
    made.dispose()


def test_a_file_that_another_has_locked_takes_connections(tmp_path: Path) -> None:
    """Several processes begin with one file: it is one of them that gives it its log."""
    path = tmp_path / "app.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE kept (id)")
    other.execute("BEGIN EXCLUSIVE")
    made = engine(f"sqlite:///{path}", settings=options(lock_timeout_seconds=0.05))
    with made.connect() as connection:
        other.execute("COMMIT")
        assert connection.exec_driver_sql("SELECT count(*) FROM kept").scalar() == 0
    with made.connect() as first, made.connect() as second:
        for connection in (first, second):
            # The first was there before, and sees with its next statement what has changed.
            assert connection.exec_driver_sql("SELECT count(*) FROM kept").scalar() == 0
            assert pragma(connection, "journal_mode") == "wal"
    made.dispose()
    other.close()


def test_a_relative_path_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of SQLAlchemy's form, and of Prisma's."""
    monkeypatch.chdir(tmp_path)
    for text in ("sqlite:///one.db", "file:./two.db?connection_limit=1"):
        made = engine(text)
        made.connect().close()
        made.dispose()
    assert (tmp_path / "one.db").exists()
    assert (tmp_path / "two.db").exists()


def test_the_pool_is_as_large_as_was_said_and_no_larger(tmp_path: Path) -> None:
    """A further one waits as long as the URL says, and is refused."""
    made = engine(f"sqlite:///{tmp_path}/app.db?pool_timeout=0.05", limit=2)
    first, second = made.connect(), made.connect()
    begun = time.monotonic()
    with pytest.raises(sqlalchemy.exc.TimeoutError):
        made.connect()
    assert time.monotonic() - begun >= 0.05
    first.close()
    made.connect().close()
    second.close()
    made.dispose()


def test_for_ever_is_not_at_once(tmp_path: Path) -> None:
    """Prisma's 0: who waits gets the connection that comes free."""
    made = engine(f"sqlite:///{tmp_path}/app.db?pool_timeout=0", limit=1)
    assert made.pool.timeout() is None
    held = made.connect()
    timer = threading.Timer(0.05, held.close)
    timer.start()
    made.connect().close()
    timer.join()
    made.dispose()


@pytest.mark.parametrize(
    ("said", "recycle"),
    [("", 1800), ("?max_connection_lifetime=60", 60), ("?max_connection_lifetime=0", -1)],
)
def test_lifetime_is_bounded(said: str, recycle: int, tmp_path: Path) -> None:
    """As the options have it, or the URL; 0 is for ever."""
    found = arguments(read_url(f"sqlite:///{tmp_path}/a.db{said}"), options(), 1, is_async=False)
    assert found["pool_recycle"] == recycle


@pytest.mark.parametrize("text", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_has_one_connection_that_stays(text: str) -> None:
    """From whichever thread; with another it would be another database."""
    made = engine(f"{text}?max_connection_lifetime=1", limit=5)
    with made.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (id INTEGER)")
        assert pragma(connection, "foreign_keys") == 1
    found: list[Any] = []

    def look() -> None:
        with made.connect() as connection:
            found.append(connection.exec_driver_sql("SELECT count(*) FROM kept").scalar())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [0]
    assert made.pool.size() == 1
    assert made.pool._recycle == -1
    made.dispose()


async def test_an_async_engine_is_told_the_same(tmp_path: Path) -> None:
    """In memory and not, whichever driver the URL names."""
    in_file = async_engine(f"sqlite+pysqlite:///{tmp_path}/app.db")
    async with in_file.connect() as connection:
        assert await connection.run_sync(pragma, "journal_mode") == "wal"
        assert await connection.run_sync(pragma, "foreign_keys") == 1
        assert await connection.run_sync(pragma, "busy_timeout") == 10_000
    assert in_file.pool.size() == 2
    await in_file.dispose()

    in_memory = async_engine("sqlite://", limit=5)
    async with in_memory.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE kept (id INTEGER)")
    async with in_memory.connect() as connection:
        await connection.exec_driver_sql("SELECT * FROM kept")
    assert in_memory.pool.size() == 1
    await in_memory.dispose()


def test_a_file_that_may_only_be_read_is_read(tmp_path: Path) -> None:
    """It is left without a log, if it has none."""
    path = tmp_path / "app.db"
    made = engine(f"sqlite:///{path}")
    with made.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (id INTEGER)")
        connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
    made.dispose()
    with made.connect() as connection:
        # The engine's own rule has brought it back.
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "journal_mode=DELETE") == "delete"
        connection.invalidate()
    made.dispose()
    only_read = engine(f"sqlite:///file:{path}?mode=ro&uri=true")
    with only_read.connect() as connection:
        assert pragma(connection, "journal_mode") == "delete"
        connection.exec_driver_sql("SELECT * FROM kept")
        with pytest.raises(sqlalchemy.exc.OperationalError, match="readonly"):
            connection.exec_driver_sql("INSERT INTO kept VALUES (1)")
    only_read.dispose()
