"""What a query may load through a pool of either kind: rows, bytes, memory that is asked for."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from collections.abc import Iterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any, ClassVar

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest
from tests.db.reserving import granting
from tests.support.postgres import PostgresServer

from tonnage import db
from tonnage.db.pools.load import Load
from tonnage.db.pools.tasks import AsyncPool
from tonnage.db.pools.threads import Pool
from tonnage.errors import MemoryShortError, ResultTooLargeError
from tonnage.units import MIB

pytestmark = pytest.mark.real

ROWS = 50_000
#: 1 MB each, made by the server.
LARGE = "SELECT n, repeat('x', 1000000) AS body FROM generate_series(1, {rows}) AS n"
DRIVERS = (str(Path(asyncpg.__file__).parent), str(Path(psycopg.__file__).parent))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Yield a database with a table of many rows."""
    with PostgresServer() as server:
        with psycopg.connect(server.url) as connection:
            connection.execute(
                "CREATE TABLE events AS"
                f" SELECT n AS id, repeat('x', 40) AS name FROM generate_series(1, {ROWS}) AS n"
            )
        yield f"{server.url}&connection_limit=2"


class Asking:
    """Either pool, asked in the same way."""

    def __init__(self, kind: str, url: str, **bounds: Any) -> None:
        self._runner = asyncio.Runner()
        self.pool: Pool | AsyncPool
        self.pool = (
            db.pool(url, name=kind, **bounds)
            if kind == "pool"
            else db.async_pool(url, name=kind, **bounds)
        )

    def ask(self, statement: str) -> list[Any]:
        """Return the rows of *statement*."""
        if isinstance(self.pool, AsyncPool):
            return self._runner.run(self.pool.fetch(statement))
        with self.pool.connection() as connection:
            return connection.execute(statement).fetchall()

    def ask_in_transaction(self, *statements: str) -> None:
        """Run all in one transaction."""
        if isinstance(self.pool, AsyncPool):
            self._runner.run(_in_transaction(self.pool, statements))
            return
        with self.pool.connection() as connection:
            for statement in statements:
                connection.execute(statement)

    def stream(self, statement: str) -> Any:
        """Yield the rows of *statement* as they come."""
        if isinstance(self.pool, Pool):
            yield from self.pool.stream(statement)
            return
        streaming = self.pool.stream(statement)
        try:
            while True:
                yield self._runner.run(anext(streaming))
        except StopAsyncIteration:
            pass
        finally:
            self._runner.run(streaming.aclose())

    def read(self, statement: str) -> tuple[tracemalloc.Snapshot, list[int]]:
        """Read a stream; return what is held in the middle of it, and the rows' numbers."""
        if isinstance(self.pool, AsyncPool):
            return self._runner.run(_read(self.pool.stream(statement)))
        numbers = []
        for row in self.pool.stream(statement):
            numbers.append(row[0])
            if len(numbers) == ROWS // 2:
                found = tracemalloc.take_snapshot()
        return found, numbers

    def close(self) -> None:
        """Close the pool, and its event loop."""
        if isinstance(self.pool, Pool):
            self.pool.close()
        self._runner.close()


async def _in_transaction(pool: AsyncPool, statements: tuple[str, ...]) -> None:
    async with pool.acquire() as connection, connection.transaction():
        for statement in statements:
            await connection.fetch(statement)


async def _read(streaming: Any) -> tuple[tracemalloc.Snapshot, list[int]]:
    numbers = []
    async for row in streaming:
        numbers.append(row[0])
        if len(numbers) == ROWS // 2:
            found = tracemalloc.take_snapshot()
    return found, numbers


@pytest.fixture(params=["pool", "async_pool"])
def asking(url: str, request: pytest.FixtureRequest) -> Iterator[Asking]:
    """Yield each pool, with bounds of 1000 rows and 4 MB."""
    with closing(Asking(request.param, url, max_rows=1000, max_bytes=4 * MIB)) as asking:
        yield asking


@pytest.fixture(params=["pool", "async_pool"])
def warned(url: str, request: pytest.FixtureRequest) -> Iterator[Asking]:
    """Yield each pool, which only warns."""
    with closing(Asking(request.param, url, max_rows=1000, guard="warn")) as asking:
        yield asking


@pytest.fixture(params=["pool", "async_pool"])
def free(url: str, request: pytest.FixtureRequest) -> Iterator[Asking]:
    """Yield each pool, without bounds."""
    with closing(Asking(request.param, url, max_rows=1000, guard="off")) as asking:
        yield asking


def test_as_many_rows_as_allowed_are_loaded_and_not_one_more(asking: Asking) -> None:
    """As many rows as allowed are loaded, and not one more."""
    assert len(asking.ask("SELECT * FROM events ORDER BY id LIMIT 1000")) == 1000
    with pytest.raises(ResultTooLargeError) as caught:
        asking.ask("SELECT * FROM events WHERE name <> 'secret' LIMIT 1001")
    message = str(caught.value)
    assert message.startswith("a query loads more than 1000 rows at once and was stopped, at ")
    # The line that asked, which is here; and no value.
    assert "test_pools_bounds.py:" in message
    assert "secret" not in message
    assert "SELECT * FROM events WHERE name <> ?" in message
    # It costs no connection.
    assert asking.pool.statistics().closed_total == 0
    assert len(asking.ask("SELECT 1")) == 1


def test_large_rows_are_stopped_by_their_bytes_and_little_of_them_is_loaded(
    asking: Asking,
) -> None:
    """Large rows are stopped by their bytes."""
    assert len(asking.ask(LARGE.format(rows=3))) == 3
    with pytest.raises(ResultTooLargeError, match="more than 4 MB at once and was stopped"):
        asking.ask(LARGE.format(rows=500))
    assert len(asking.ask("SELECT 1")) == 1
    assert asking.pool.slots.in_use == 0


def test_what_is_stopped_in_a_transaction_undoes_it(asking: Asking) -> None:
    """What is stopped in a transaction undoes it."""
    asking.ask_in_transaction("CREATE TABLE IF NOT EXISTS changed (id int)")
    for statement, error in (
        ("SELECT * FROM events", "1000 rows"),
        (LARGE.format(rows=100), "4 MB"),
        ("INSERT INTO changed SELECT id FROM events RETURNING id", "1000 rows"),
    ):
        with pytest.raises(ResultTooLargeError, match=error):
            asking.ask_in_transaction("INSERT INTO changed VALUES (1)", statement)
        assert asking.ask("SELECT * FROM changed") == []


def test_one_may_be_warned_instead_once_a_minute(
    warned: Asking, caplog: pytest.LogCaptureFixture
) -> None:
    """One may be warned instead, once a minute for each statement."""
    statement = f"SELECT id, '{warned.pool.name}' AS {warned.pool.name} FROM events"
    for _ in range(2):
        assert len(warned.ask(statement)) == ROWS
    assert sum("goes on, at" in each for each in caplog.messages) == 1


def test_it_may_be_off(free: Asking, caplog: pytest.LogCaptureFixture) -> None:
    """It may be off."""
    assert len(free.ask("SELECT * FROM events")) == ROWS
    assert caplog.messages == []


def test_slow_queries_are_logged_without_values(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Slow queries are logged, without values."""
    for kind in ("pool", "async_pool"):
        with closing(Asking(kind, url, slow_seconds=0.01)) as asking:
            asking.ask("SELECT 'secret', pg_sleep(0.02)")
        with closing(Asking(kind, url, slow_seconds=60.0)) as asking:
            asking.ask("SELECT 1")
    slow = [each for each in caplog.messages if each.startswith("slow query: ")]
    assert len(slow) == 2
    assert all("1 rows, at " in each and "test_pools_bounds.py:" in each for each in slow)
    assert "secret" not in caplog.text


def test_what_a_query_loads_is_asked_for_and_given_back(url: str, asking: Asking) -> None:
    """What a query loads is asked for, as it comes, and given back."""
    with closing(Asking(asking.pool.name, url)) as large, granting() as granted:
        large.ask("SELECT 1")
        assert granted.asked == []
        assert len(large.ask(LARGE.format(rows=12))) == 12
        assert sum(size for size, _ in granted.asked) > 6 * MIB
        where = {where for _, where in granted.asked}
        assert where == {"thread" if isinstance(large.pool, Pool) else "loop"}
        assert granted.kept_bytes == 0


def test_where_there_is_no_memory_the_query_ends(asking: Asking, url: str) -> None:
    """Where there is no memory the query ends, and the pool goes on."""
    with closing(Asking(asking.pool.name, url)) as large:
        with granting(grants=False):
            with pytest.raises(MemoryShortError):
                large.ask(LARGE.format(rows=12))
            assert len(large.ask("SELECT * FROM events LIMIT 10")) == 10
        assert large.pool.slots.in_use == 0
        assert len(large.ask(LARGE.format(rows=12))) == 12


def test_a_stream_has_all_rows_and_little_of_them_at_a_time(asking: Asking) -> None:
    """A stream has all rows, and little of them at a time."""
    gc.collect()
    tracemalloc.start()
    try:
        found, numbers = asking.read("SELECT id, name FROM events")
    finally:
        tracemalloc.stop()
    assert numbers == list(range(1, ROWS + 1))
    here = [tracemalloc.Filter(True, f"{each}/*") for each in DRIVERS]
    held = sum(each.size for each in found.filter_traces(here).statistics("filename"))
    # All of them would be some 10 MB.
    assert held < 4 * MIB
    assert asking.pool.slots.in_use == 0


def test_a_stream_that_is_left_early_gives_its_connection_back(asking: Asking) -> None:
    """A stream that is left early gives its connection back."""
    for _ in range(3):
        streaming = asking.stream("SELECT id FROM events")
        assert next(streaming)[0] == 1
        assert asking.pool.slots.in_use == 1
        streaming.close()
        assert asking.pool.slots.in_use == 0
    assert asking.pool.statistics().opened_total == 1


def test_a_statement_that_is_wrong_is_the_drivers_own_error(asking: Asking) -> None:
    """A statement that is wrong is the driver's own error."""
    for statement in ("SELECT nothing", "SELEC 1", "SELECT 1 / (id - 300) FROM events"):
        with pytest.raises((psycopg.Error, asyncpg.PostgresError)):
            asking.ask(statement)
    assert asking.pool.statistics().closed_total == 0


async def test_a_cancelled_stream_ends_in_the_server(url: str) -> None:
    """A stream that is cancelled gives its connection back."""
    pool = db.async_pool(url, name="cancelled")
    is_streaming = asyncio.Event()

    async def read() -> None:
        async with aclosing(pool.stream("SELECT id FROM events")) as rows:
            async for _ in rows:
                is_streaming.set()
                await asyncio.sleep(10)

    reading = asyncio.create_task(read())
    await is_streaming.wait()
    reading.cancel()
    await asyncio.wait([reading])
    assert pool.slots.in_use == 0
    assert await pool.fetchval("SELECT 1") == 1
    await pool.close()


async def test_whoever_is_cancelled_while_memory_is_asked_for_gives_all_back(url: str) -> None:
    """Whoever is cancelled while memory is asked for gives all of it back."""
    pool = db.async_pool(url, name="given_up")
    with granting() as granted:
        loading = asyncio.create_task(pool.fetch(LARGE.format(rows=30)))
        while not granted.asked:  # noqa: ASYNC110 - of another task
            await asyncio.sleep(0)
        loading.cancel()
        await asyncio.wait([loading])
        assert granted.kept_bytes == 0
    assert await pool.fetchval("SELECT 1") == 1
    await pool.close()


def test_psycopgs_cursor_is_as_ever(url: str) -> None:
    """A cursor of psycopg's is as ever: what it says of a result, and how rows are fetched."""
    pool = db.pool(url, name="cursor")
    with psycopg.connect(url.partition("&")[0]) as plain, pool.connection() as ours:
        for connection in (plain, ours):
            cursor = connection.execute("SELECT id, name FROM events ORDER BY id LIMIT 45")
            seen: list[Any] = [
                cursor.rowcount, cursor.rownumber,
                [(column.name, column.type_code) for column in cursor.description or ()],
                cursor.fetchone(), cursor.fetchmany(2), cursor.rownumber, next(cursor),
            ]  # fmt: skip
            cursor.scroll(-2)
            seen += [cursor.fetchone(), len(cursor.fetchall()), cursor.fetchone(), list(cursor)]
            empty = connection.execute("SELECT 1 AS a WHERE %s", [False])
            seen += [
                empty.rowcount,
                empty.fetchall(),
                [each.name for each in empty.description or ()],
            ]
            cursor = connection.execute("CREATE TEMPORARY TABLE few (id int)")
            seen += [cursor.description, cursor.rowcount, cursor.statusmessage]
            with pytest.raises(psycopg.ProgrammingError):
                cursor.fetchone()
            cursor = connection.execute("INSERT INTO few VALUES (1), (2) RETURNING id")
            seen += [cursor.rowcount, cursor.fetchall()]
            cursor = connection.execute("UPDATE few SET id = id + %s", [1])
            seen += [cursor.rowcount, cursor.statusmessage]
            cursor = connection.execute("SELECT 1; SELECT 2")
            seen += [cursor.fetchall(), cursor.nextset(), cursor.fetchall()]
            cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
            seen += [cursor.execute("SELECT 1 AS a", prepare=True).fetchall()]
            seen += [cursor.execute("SELECT 1 AS a", binary=True).fetchall()]
            seen += [list(cursor.stream("SELECT 1 AS a"))]
            cursor.executemany("SELECT %s AS a", [(1,), (2,)], returning=True)
            seen += [cursor.fetchall(), cursor.nextset(), cursor.fetchall()]
            with connection.pipeline():
                seen += [connection.execute("SELECT 5").fetchall()]
            with cursor.copy("COPY few TO STDOUT") as copy:
                seen += [list(copy)]
            cursor.close()
            with pytest.raises(psycopg.InterfaceError):
                cursor.fetchone()
            if connection is plain:
                expected = seen
        assert seen == expected
    pool.close()


def test_a_connection_with_large_traces_is_closed_when_it_comes_back(asking: Asking) -> None:
    """A connection with large traces is closed when it comes back, and only such a one."""
    asking.ask("SELECT * FROM events LIMIT 900")
    assert asking.pool.statistics().closed_total == 0
    with pytest.raises(ResultTooLargeError):
        asking.ask("SELECT repeat('x', 20000000)")
    assert asking.pool.statistics().closed_total == 1


def test_rows_that_grow_are_noticed_at_the_next() -> None:
    """Rows that become larger are counted at once."""

    class Counting:
        next_rows, size_bytes = 1000, 0
        counted: ClassVar[list[int]] = []

        def count(self, rows: list[Any]) -> None:
            self.counted.append(len(rows))

    load = Load(Counting())  # type: ignore[arg-type]
    for size in (10, 10, 10, 300_000, 10):
        load.take([("x" * size,)] * 20)
    load.end()
    assert Counting.counted == [20, 60, 20]


def test_nothing_is_said_at_info_but_connections(
    asking: Asking, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is said of queries that are well."""
    with caplog.at_level(logging.INFO, "tonnage.db"):
        asking.ask("SELECT 1")
    assert all("connection opened" in each for each in caplog.messages)
