"""Streams: all rows in order, closed however they end, the connection usable afterwards."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection, Row, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from starlette.responses import StreamingResponse
from starlette.types import Message, Send
from tests.db.reserving import granting, peak_bytes
from tests.db.watched import DRIVERS, Make, Watched, maker, tables

from tonnage import db
from tonnage.errors import MemoryShortError
from tonnage.units import MIB

pytestmark = pytest.mark.real


class Base(DeclarativeBase):
    """Of the table here."""


class Note(Base):
    """What sessions stream."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


class RowsResponse(StreamingResponse):
    """Closes its rows when the client leaves, as docs/how-to/queries.md has it."""

    async def stream_response(self, send: Send) -> None:
        """Send them."""
        async with aclosing(cast("AsyncGenerator[str, None]", self.body_iterator)):
            await super().stream_response(send)


@pytest.fixture(params=[name for name in DRIVERS if name in ("sqlite", "psycopg")])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return what makes an engine of one synchronous driver."""
    return maker(request, tmp_path)


@pytest.fixture(params=[name for name in DRIVERS if name not in ("sqlite", "psycopg")])
def make_async(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return what makes an engine of one asynchronous driver."""
    return maker(request, tmp_path)


def test_all_rows_come_in_order_whatever_the_guard_allows(make: Make) -> None:
    """Far more of them than one query may load."""
    watched = make()

    def read(connection: Connection) -> list[int]:
        return [row.n for row in db.stream(connection, text(watched.numbers(12_345)))]

    assert watched.run(read) == list(range(1, 12_346))


def test_left_early_it_is_closed_at_once(make: Make) -> None:
    """Afterwards the table can be dropped in the same transaction: nobody reads it any more."""
    watched = make()

    def read(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE left_early (n INTEGER)"))
        connection.execute(text("INSERT INTO left_early " + watched.numbers(5000)))
        for row in db.stream(connection, text("SELECT n FROM left_early ORDER BY n")):
            if row.n == 3:
                break
        with pytest.raises(ZeroDivisionError):
            _divide(db.stream(connection, text("SELECT n FROM left_early ORDER BY n")))
        connection.execute(text("DROP TABLE left_early"))

    watched.run(read)


def test_sessions_stream_objects_and_forget_them(make: Make) -> None:
    """A session holds only what the application holds."""
    watched = make(max_rows=5000)

    def work(connection: Connection) -> None:
        with Session(connection) as session:
            session.add_all(Note(body=f"{n}") for n in range(2500))
            session.commit()
            most = count = 0
            for (note,) in db.stream(session, select(Note).order_by(Note.id), chunk_rows=50):
                assert note.body == f"{count}"
                count += 1
                most = max(most, len(session.identity_map))
            assert count == 2500
            assert most <= 200

    with tables(watched, Base.metadata):
        watched.run(work)


def test_a_chunk_has_at_least_a_row(make: Make) -> None:
    """A mistake is said when the stream is made."""
    watched = make()
    with pytest.raises(ValueError, match="chunk_rows"):
        watched.run(lambda connection: db.stream(connection, text("SELECT 1"), chunk_rows=0))


def test_rows_are_fetched_few_at_a_time_where_they_are_large(make: Make) -> None:
    """From the first on, also with chunk_rows, and by a session's select."""
    watched = make()
    huge = text(f"SELECT n, {watched.large(2 * MIB)} AS x FROM ({watched.numbers(30)}) AS t")

    def read(connection: Connection) -> int:
        before_bytes = peak_bytes()
        assert sum(len(row.x) for row in db.stream(connection, huge)) == 60 * MIB
        assert sum(len(row.x) for row in db.stream(connection, huge, chunk_rows=1)) == 60 * MIB
        with Session(connection) as session:
            assert sum(len(row.x) for row in db.stream(session, huge)) == 60 * MIB
        return peak_bytes() - before_bytes

    assert watched.run(read) < 30 * MIB


def test_what_cannot_be_read_from_is_said_so(tmp_path: Path) -> None:
    """When the stream is made, not when it is iterated."""
    watched = Watched("sqlite", f"sqlite:///{tmp_path}/test.db")
    with pytest.raises(TypeError, match="not from Engine"):
        db.stream(watched.engine, text("SELECT 1"))  # type: ignore[call-overload]
    with watched.engine.connect() as connection:
        mistakes: tuple[Any, ...] = ("5", 2.5, True, 0, -1)
        for wrong in mistakes:
            with pytest.raises(ValueError, match="chunk_rows"):
                db.stream(connection, text("SELECT 1"), chunk_rows=wrong)
    watched.engine.dispose()


def test_large_rows_are_asked_for_chunk_by_chunk(make: Make) -> None:
    """About a megabyte at a time is kept free, and none when it has ended."""
    watched = make()
    statement = text(
        f"SELECT {watched.large(10_000)} AS x FROM ({watched.numbers(2000)}) AS t"
    )  # fmt: skip

    def read(connection: Connection) -> None:
        with granting() as reserver:
            assert sum(len(row.x) for row in db.stream(connection, statement)) == 20_000_000
            assert reserver.kept_bytes == 0
            sizes = [size_bytes for size_bytes, _ in reserver.asked]
            # It begins with one row.
            assert all(size_bytes < 1.2 * MIB for size_bytes in sizes)
            assert all(size_bytes > 0.8 * MIB for size_bytes in sizes[2:])
            assert len(sizes) >= 18
        with granting(grants=False), pytest.raises(MemoryShortError):
            list(db.stream(connection, statement))

    watched.run(read)


async def test_async_all_rows_come_in_order(make_async: Make) -> None:
    """And two streams of one connection may be read at once, and other things done meanwhile."""
    watched = make_async()
    statement = text(watched.numbers(4321))
    async with watched.async_engine.connect() as connection:
        first, second = db.stream(connection, statement), db.stream(connection, statement)
        found = []
        async for row in first:
            other = await anext(second)
            assert row.n == other.n
            found.append(row.n)
            if row.n % 1000 == 0:
                assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
        assert found == list(range(1, 4322))
        await second.aclose()
    await watched.async_engine.dispose()


async def test_async_left_early_the_connection_can_be_used(make_async: Make) -> None:
    """By break, by an error, and when the task is cancelled; also the table can be altered."""
    watched = make_async()
    statement = text("SELECT n FROM early ORDER BY n")
    async with watched.async_engine.connect() as connection:
        await connection.execute(text("CREATE TABLE early (n INTEGER)"))
        await connection.execute(text("INSERT INTO early " + watched.numbers(5000)))
        async with aclosing(db.stream(connection, statement)) as rows:
            async for row in rows:
                if row.n == 3:
                    break
        with pytest.raises(ZeroDivisionError):
            await _divide_async(db.stream(connection, statement))
        await _cancelled_in_the_middle(connection, watched)
        assert len((await connection.execute(statement.execution_options(max_rows=None))).all())
        await connection.execute(text("ALTER TABLE early ADD COLUMN m INTEGER"))
        await connection.rollback()
    await watched.async_engine.dispose()


async def test_async_without_aclosing_the_loop_closes_it(make_async: Make) -> None:
    """The next statement may come at once, the commit, and another transaction."""
    watched = make_async()
    async with watched.async_engine.connect() as connection:
        for _ in range(3):
            async for _row in db.stream(connection, text(watched.numbers(5000))):
                break
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
            await connection.commit()
    await watched.async_engine.dispose()


async def test_async_large_rows_are_fetched_few_at_a_time(make_async: Make) -> None:
    """From the first on, also with chunk_rows."""
    watched = make_async()
    huge = text(f"SELECT n, {watched.large(2 * MIB)} AS x FROM ({watched.numbers(30)}) AS t")
    async with watched.async_engine.connect() as connection:
        before_bytes = peak_bytes()
        for chunk_rows in (None, 1):
            rows = db.stream(connection, huge, chunk_rows=chunk_rows)
            assert sum([len(row.x) async for row in rows]) == 60 * MIB
        assert peak_bytes() - before_bytes < 30 * MIB
    await watched.async_engine.dispose()


# psycopg says so of a cursor that has ended with its transaction.
@pytest.mark.filterwarnings("ignore:.*Cursor.*:ResourceWarning")
@pytest.mark.parametrize("wait_seconds", [None, 0.0, 0.01])
async def test_async_however_it_is_left_the_pool_stays_whole(
    make_async: Make, wait_seconds: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is logged, and the next ones find connections that work."""
    watched = make_async()
    engine = watched.async_engine
    statement = text(watched.numbers(50_000))

    async def leave(how: str) -> None:
        async with engine.connect() as connection:
            async for row in db.stream(connection, statement):
                if how == "error" and row.n == 5000:
                    raise ZeroDivisionError
                if how == "break" and row.n == 3:
                    break
                if how == "cancel":
                    await asyncio.sleep(0)
            if wait_seconds is not None:
                await asyncio.sleep(wait_seconds)
            if how == "break":
                assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1

    with caplog.at_level(logging.WARNING):
        for how in ("break", "error", "cancel", "break"):
            task = asyncio.create_task(leave(how))
            if how == "cancel":
                await asyncio.sleep(0.02)
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if how == "break":
                task.result()
            async with engine.begin() as connection:
                assert (await connection.execute(text("SELECT 2"))).scalar_one() == 2
    assert caplog.records == []
    await engine.dispose()
    gc.collect()


@pytest.mark.parametrize("driver", ["asyncpg"])
async def test_left_streams_are_closed_before_the_next_statement(
    driver: str, postgres: str
) -> None:
    """Whatever it is; and those of a transaction that is over are forgotten."""
    watched = Watched(driver, postgres)
    count = text("SELECT count(*) FROM pg_cursors WHERE name <> ''")
    async with watched.async_engine.connect() as connection:
        await connection.execute(text("CREATE TABLE left_over (n INTEGER)"))
        await connection.execute(text("INSERT INTO left_over " + watched.numbers(5000)))
        await connection.commit()
        for _ in range(3):
            async with aclosing(db.stream(connection, text("SELECT n FROM left_over"))) as rows:
                await anext(rows)
            await connection.execute(text("ALTER TABLE left_over ADD COLUMN m INTEGER"))
            assert (await connection.execute(count)).scalar_one() == 0
            await connection.rollback()
            rows = db.stream(connection, text("SELECT n FROM left_over"))
            await anext(rows)
            await connection.rollback()
            await rows.aclose()
        await connection.execute(text("DROP TABLE left_over"))
        await connection.commit()
    await watched.async_engine.dispose()


async def test_async_sessions_stream_too(make_async: Make) -> None:
    """Rows with objects, a chunk at a time."""
    watched = make_async(max_rows=5000)
    async with watched.async_engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(watched.async_engine) as session:
        session.add_all(Note(body=f"{n}") for n in range(1200))
        await session.commit()
        notes = db.stream(session, select(Note).order_by(Note.id))
        assert [note.body async for (note,) in notes] == [f"{n}" for n in range(1200)]
    async with watched.async_engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
    await watched.async_engine.dispose()


async def test_a_client_that_leaves_ends_its_stream(make_async: Make) -> None:
    """The connection is back in its pool when the response has ended."""
    watched = make_async()

    async def lines() -> AsyncGenerator[str, None]:
        async with watched.async_engine.connect() as connection:
            async for row in db.stream(connection, text(watched.numbers(1_000_000))):
                yield f"{row.n}\n"

    sent = 0
    is_gone = asyncio.Event()

    async def receive() -> Message:
        await is_gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal sent
        sent += 1
        if sent == 500:
            is_gone.set()
        await asyncio.sleep(0)

    scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
    await RowsResponse(lines())(scope, receive, send)
    assert 500 <= sent < 20_000
    assert watched.async_engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    async with watched.async_engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await watched.async_engine.dispose()


@pytest.mark.parametrize("driver", ["psycopg_async", "asyncpg"])
async def test_with_autocommit_postgresql_has_no_streams(driver: str, postgres: str) -> None:
    """The error is the driver's, and the connection can be used further."""
    watched = Watched(driver, postgres)
    async with watched.async_engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        with pytest.raises(DBAPIError, match="transaction"):
            await anext(db.stream(connection, text("SELECT 1")))
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await watched.async_engine.dispose()


def _divide(rows: Iterable[Row[Any]]) -> None:
    for row in rows:
        assert 1 / (row.n - 7)


async def _divide_async(rows: AsyncGenerator[Row[Any], None]) -> None:
    async with aclosing(rows):
        async for row in rows:
            assert 1 / (row.n - 7)


async def _cancelled_in_the_middle(connection: AsyncConnection, watched: Watched) -> None:
    seen = asyncio.Event()

    async def read() -> None:
        async for _row in db.stream(connection, text(watched.numbers(100_000)), chunk_rows=10):
            seen.set()
            await asyncio.sleep(0)

    task = asyncio.create_task(read())
    await seen.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
