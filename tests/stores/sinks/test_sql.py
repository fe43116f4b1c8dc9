"""Any database by way of SQLAlchemy: SQLite files, and PostgreSQL where it differs."""

from __future__ import annotations

import asyncio
import datetime
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, event
from sqlalchemy.exc import NoSuchTableError, ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import Pool
from tests.support.forking import await_in_child

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.sinks import Batch, SqlSink
from tonnage.stores.sinks.verdict import is_rejected

TABLE = """
CREATE TABLE events (
    id text UNIQUE, name varchar(10) NOT NULL, score integer DEFAULT 5, at timestamp
)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a database of SQLite with an empty table."""
    path = tmp_path / "events.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(TABLE)
    return path


def ask(file: Path, query: str = "SELECT name, score FROM events ORDER BY rowid") -> list[Any]:
    """Return the rows of a query."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(params=["sqlite", "sqlite+aiosqlite"])
def url(request: pytest.FixtureRequest, file: Path) -> str:
    """Return the URL of the database for a driver that blocks, and for one that does not."""
    return f"{request.param}:///{file}"


async def test_records_are_stored(url: str, file: Path) -> None:
    """Records are stored, in a file with a write-ahead log; what a record lacks is the default."""
    sink = SqlSink(url, "events")
    at = datetime.datetime(2026, 1, 2, 3, 4, 5)
    await sink.write(Batch([{"name": "a", "score": 1, "at": at}, {"name": "b"}]))
    await sink.write(Batch([{"name": "c"}]))
    assert ask(file) == [("a", 1), ("b", 5), ("c", 5)]
    assert ask(file, "PRAGMA journal_mode") == [("wal",)]
    assert ask(file, "SELECT at FROM events LIMIT 1") == [("2026-01-02 03:04:05.000000",)]
    await sink.close()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"name": None}, "NOT NULL constraint failed: events.name"),
        ({"name": "a", "id": "1"}, "UNIQUE constraint failed: events.id"),
        ({"name": {"nested": "secret"}}, "dict"),
        ({"name": "a", "score": 1 << 70}, "too large"),
        ({"name": "a", "at": "secret"}, "TypeError"),
        ({"name": "\ud800"}, "surrogates not allowed"),
        ({"name": "a", "nobody": 1}, "no column is called 'nobody'"),
    ],
)
async def test_what_cannot_be_stored_is_rejected_and_nothing_of_its_batch_is_stored(
    url: str, file: Path, record: dict[str, Any], reason: str
) -> None:
    """What cannot be stored is rejected, and nothing of its batch is stored; then it goes on."""
    sink = SqlSink(url, "events")
    await sink.write(Batch([{"name": "first", "id": "1"}]))
    with pytest.raises(RecordsRejectedError, match=reason) as caught:
        await sink.write(Batch([{"name": "b"}, record, {"name": "c"}]))
    assert "secret" not in str(caught.value)
    await sink.write(Batch([{"name": "last"}]))
    assert [name for name, _ in ask(file)] == ["first", "last"]
    await sink.close()


@pytest.mark.parametrize(
    ("place", "is_the_rows"), [("ExecWithCheckOptions", True), ("aclcheck", False)]
)
def test_a_row_that_a_policy_forbids_is_told_from_a_table(place: str, is_the_rows: bool) -> None:
    """As psycopg says it: the first is the record's fault, the other for the owner to change."""

    class Forbidden(Exception):  # noqa: N818  (the driver's is called so)
        sqlstate = "42501"
        diag = SimpleNamespace(source_function=place)

    assert is_rejected(Forbidden()) is is_the_rows


async def test_what_has_an_id_is_stored_once(url: str, file: Path) -> None:
    """What has an id is stored once, however often it is tried."""
    sink = SqlSink(url, "events", id_column="id")
    for _ in range(2):
        await sink.write(Batch([{"name": "a"}, {"name": "b", "id": "own"}], ["1", "2"]))
    await sink.write(Batch([{"name": "c"}]))
    assert ask(file, "SELECT id, name FROM events") == [("1", "a"), ("own", "b"), (None, "c")]
    await sink.close()


async def test_a_row_is_brought_up_to_date(url: str, file: Path) -> None:
    """A row is brought up to date, by the last of its records; other columns stay."""
    sink = SqlSink(url, "events", upsert=["id"])
    await sink.write(Batch([{"id": "1", "name": "a"}, {"id": "2", "name": "b"}]))
    again = [{"id": "1", "name": "c", "score": 8}, {"id": "1", "name": "d", "score": 9}]
    await sink.write(Batch([*again, {"id": "2", "name": "e"}, {"name": "f"}]))
    assert ask(file) == [("d", 9), ("e", 5), ("f", 5)]
    await sink.close()


async def test_an_engine_and_a_table_of_the_applications_own(file: Path) -> None:
    """An engine and a table of the application's own are used, and not closed."""
    table = Table("events", MetaData(), Column("name", String), Column("score", Integer))
    engine = create_engine(f"sqlite:///{file}")
    sink = SqlSink(engine, table)
    await sink.write(Batch([{"name": "a", "score": 1}]))
    await sink.close()
    with engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(table.select())] == [("a", 1)]
    engine.dispose()


async def test_an_async_engine_stays_with_its_own_event_loop(
    postgres_url: str,
) -> None:
    """An asynchronous engine goes on in the application's event loop, the sink in another."""
    engine = create_async_engine(postgres_url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await connection.exec_driver_sql(TABLE)
    sink = SqlSink(engine, "events")

    async def write() -> None:
        await sink.write(Batch([{"name": "a"}]))
        await sink.close()

    await asyncio.to_thread(asyncio.run, write())
    async with engine.begin() as connection:
        found = await connection.exec_driver_sql("SELECT name, score FROM events")
        assert [tuple(row) for row in found] == [("a", 5)]
    await engine.dispose()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"name": "longer than ten"}, "too long"),
        ({"name": "secret\0"}, "invalid byte sequence"),
        ({"name": 7}, "expected str"),
        ({"name": "a", "score": 1 << 40}, "out of int32 range"),
        ({"name": None}, "not-null constraint"),
    ],
)
async def test_postgres_rejects_too(postgres_url: str, record: dict[str, Any], reason: str) -> None:
    """PostgreSQL rejects what it cannot take; what has an id is stored once there too."""
    # Without a driver in its URL.
    sink = SqlSink(postgres_url, "events", id_column="id")
    with pytest.raises(NoSuchTableError):
        await sink.write(Batch([{"name": "a"}]))
    await sink._database.run(lambda connection: connection.exec_driver_sql(TABLE))
    with pytest.raises(RecordsRejectedError, match=reason) as caught:
        await sink.write(Batch([{"name": "a"}, record]))
    assert "secret" not in str(caught.value)
    for _ in range(2):
        await sink.write(Batch([{"name": "b"}], ["1"]))
    rows = await sink._database.run(
        lambda connection: connection.exec_driver_sql("SELECT id, name FROM events").all()
    )
    assert [tuple(row) for row in rows] == [("1", "b")]
    await sink.close()


async def test_a_locked_file_is_of_the_moment(file: Path) -> None:
    """A locked file is no fault of the records; a write that is given up is not stored later."""
    sink = SqlSink(f"sqlite:///{file}", "events")
    await sink.write(Batch([{"name": "a"}]))
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(sink.write(Batch([{"name": "given up"}])))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        other.execute("COMMIT")
    await sink.write(Batch([{"name": "b"}]))
    assert ask(file) == [("a", 5), ("b", 5)]
    await sink.close()


async def test_a_connection_that_is_given_up_and_fails_holds_up_nobody(file: Path) -> None:
    """Where making a connection fails that nobody waits for any more, the next write makes one."""
    begun, go_on = threading.Event(), threading.Event()

    def hold_the_first(connection: object, record: object) -> None:
        if not begun.is_set():
            begun.set()
            go_on.wait(10)
            raise sqlite3.OperationalError("database is locked")

    sink = SqlSink(f"sqlite:///{file}", "events")
    event.listen(Pool, "connect", hold_the_first)
    try:
        given_up = asyncio.create_task(sink.write(Batch([{"name": "given up"}])))
        assert await asyncio.to_thread(begun.wait, 10)
        given_up.cancel()
        next_one = asyncio.create_task(sink.write(Batch([{"name": "a"}])))
        # It may not be stored yet.
        await asyncio.sleep(0.1)
        go_on.set()
        async with asyncio.timeout(10):
            await next_one
    finally:
        go_on.set()
        event.remove(Pool, "connect", hold_the_first)
    assert ask(file) == [("a", 5)]
    await sink.close()


async def test_a_forked_process_has_a_connection_of_its_own(url: str, file: Path) -> None:
    """A forked process has a connection of its own."""
    sink = SqlSink(url, "events")
    if "aio" not in url:
        await sink.write(Batch([{"name": "parent"}]))
    child = Batch([{"name": "child"}])
    assert await await_in_child(lambda: sink.write(child), sink.close) == 0
    await sink.write(Batch([{"name": "again"}]))
    assert [name for name, _ in ask(file)][-2:] == ["child", "again"]
    await sink.close()


@pytest.mark.parametrize(
    ("where", "given", "reason"),
    [
        ("no url", {}, "cannot be read"),
        ("mysql+mysqlconnector://me:secret@there/base", {}, "mysql"),
        ("oracle+nothing://me:secret@there/base", {}, "oracle"),
        ("sqlite:///a.db", {"id_column": "a", "upsert": ["b"]}, "not both"),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    where: str, given: dict[str, Any], reason: str
) -> None:
    """What cannot work is refused when the sink is made, without the password."""
    with pytest.raises(ConfigError, match=reason) as caught:
        SqlSink(where, "events", **given)
    assert "secret" not in str(caught.value)


def test_what_it_is_called_has_no_password() -> None:
    """What it is called has no password."""
    assert "secret" not in repr(SqlSink("postgresql://me:secret@there/base", "events"))


async def test_batches_with_the_same_rows_do_not_wait_for_each_other(postgres_url: str) -> None:
    """Batches of two workers that bring the same rows up to date do not block each other."""
    first, second = (SqlSink(postgres_url, "events", upsert=["id"]) for _ in range(2))
    await first._database.run(lambda connection: connection.exec_driver_sql(TABLE))
    records = [{"id": str(number), "name": "a"} for number in range(1000)]
    for _ in range(5):
        await asyncio.gather(first.write(Batch(records)), second.write(Batch(records[::-1])))
    await first.close()
    await second.close()


def nested(depth: int = 5000) -> Any:
    """Return what no writer of JSON can follow to its end."""
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


#: What anybody may send, where records are bodies as they come.
FREE: list[dict[Any, Any]] = [
    {},
    {1: 2},
    {None: 1},
    {(1, 2): 3},
    {"": 1},
    {"a\0b": 1},
    {"\ud800": 1},
    {"name": nested()},
    {"name": "a", "details": nested()},
    {"name": "a", "score": nested()},
    {str(number): number for number in range(2000)},
]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'free.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.mark.parametrize("given", [{}, {"upsert": ["id"]}, {"id_column": "id"}])
async def test_what_anybody_may_send_holds_up_nothing(any_url: str, given: dict[str, Any]) -> None:
    """Whatever keys and values a record of a free form has, it is rejected, and others are not."""
    sink = SqlSink(any_url, "events", **given)
    await sink._database.run(
        lambda connection: connection.exec_driver_sql(
            "CREATE TABLE events (id text UNIQUE, name text NOT NULL, score integer, details json)"
        )
    )
    for record in FREE:
        for batch in (Batch([record]), Batch([{"name": "a"}, record, record])):
            with pytest.raises(RecordsRejectedError):
                await sink.write(batch)
    await sink.write(Batch([{"name": "last"}]))
    found = await sink._database.run(
        lambda connection: connection.exec_driver_sql("SELECT name FROM events").all()
    )
    assert [tuple(row) for row in found] == [("last",)]
    await sink.close()


@pytest.mark.parametrize("its_id", [[1], {}, nested()])
async def test_an_id_that_is_no_text_is_rejected(file: Path, its_id: object) -> None:
    """An id that no column can hold is rejected, also where rows are brought up to date by it."""
    sink = SqlSink(f"sqlite:///{file}", "events", upsert=["id"])
    with pytest.raises(RecordsRejectedError):
        await sink.write(Batch([{"name": "a", "id": its_id}, {"name": "b", "id": "1"}]))
    await sink.close()


async def test_an_id_that_is_none_is_no_id(url: str, file: Path) -> None:
    """An id that is None is no id: the one that the writer gave is stored, once."""
    sink = SqlSink(url, "events", id_column="id")
    for _ in range(2):
        await sink.write(Batch([{"name": "a", "id": None}, {"name": "b"}], ["1", "2"]))
    assert ask(file, "SELECT id, name FROM events") == [("1", "a"), ("2", "b")]
    await sink.close()


async def test_a_policy_that_forbids_a_row_rejects_it(postgres_url: str) -> None:
    """A row that a policy forbids is rejected; a table that one may not write at all is not."""
    owner = SqlSink(postgres_url, "events")

    async def run(statement: str) -> None:
        await owner._database.run(lambda connection: connection.exec_driver_sql(statement))

    await run("CREATE ROLE guest LOGIN")
    try:
        await run("CREATE TABLE events (name text)")
        await run("ALTER TABLE events ENABLE ROW LEVEL SECURITY")
        await run("CREATE POLICY mine ON events USING (true) WITH CHECK (name <> 'forbidden')")
        guest = SqlSink(postgres_url.replace("postgres@", "guest@"), "events")
        # Of the moment, until somebody grants it.
        with pytest.raises(ProgrammingError, match="permission denied"):
            await guest.write(Batch([{"name": "a"}]))
        await run("GRANT INSERT ON events TO guest")
        with pytest.raises(RecordsRejectedError, match="row-level security"):
            await guest.write(Batch([{"name": "a"}, {"name": "forbidden"}]))
        await guest.write(Batch([{"name": "a"}]))
        await guest.close()
    finally:
        await run("DROP TABLE IF EXISTS events")
        await run("DROP ROLE guest")
        await owner.close()


async def test_a_table_without_columns_is_not_there_yet(postgres_url: str) -> None:
    """A table that is looked at while it is made may seem to have no columns: it is waited for."""
    sink = SqlSink(postgres_url, "events")
    await sink._database.run(
        lambda connection: connection.exec_driver_sql("CREATE TABLE events ()")
    )
    with pytest.raises(NoSuchTableError):
        await sink.write(Batch([{"name": "a"}]))
    await sink._database.run(
        lambda connection: connection.exec_driver_sql("ALTER TABLE events ADD name text")
    )
    await sink.write(Batch([{"name": "a"}]))
    await sink.close()
