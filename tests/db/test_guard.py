"""The guard on an engine: what is counted, what is stopped, and what goes on as ever."""

from __future__ import annotations

import itertools
import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Integer,
    MetaData,
    Sequence,
    Table,
    bindparam,
    delete,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    selectinload,
)
from tests.db.reserving import granting, peak_bytes
from tests.db.watched import DRIVERS, NUMBERS, Make, Watched, bounded, maker, tables

from tonnage import db
from tonnage.db.guard import watch
from tonnage.db.guard.contexts import _RETURNS_ROWS
from tonnage.errors import MemoryShortError, ResultTooLargeError
from tonnage.units import MIB


class Base(DeclarativeBase):
    """Of the tables here."""


class Event(Base):
    """What sessions load."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    guests: Mapped[list[Guest]] = relationship()


class Guest(Base):
    """What they load with it."""

    __tablename__ = "guests"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id"))


@pytest.fixture(params=DRIVERS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return what makes an engine of one driver, with bounds."""
    return maker(request, tmp_path)


pytestmark = pytest.mark.real


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 999, 1000])
def test_what_fits_is_loaded_whole(make: Make, count: int) -> None:
    """Around the first chunk, and up to the last row that may be, all rows come in order."""
    watched = make()
    statement = text(f"SELECT * FROM ({watched.numbers(max(count, 1))}) AS t WHERE {count} > 0")
    rows = watched.run(lambda connection: connection.execute(statement).all())
    assert [row.n for row in rows] == list(range(1, count + 1))


def test_one_row_more_is_stopped_and_the_connection_can_be_used_further(make: Make) -> None:
    """After a rollback the connection is as it was."""
    watched = make()

    def read(connection: Connection) -> Any:
        with pytest.raises(ResultTooLargeError, match="more than 1000 rows"):
            connection.execute(text(watched.numbers(1001)))
        connection.rollback()
        return connection.execute(text("SELECT 1")).scalar_one()

    assert watched.run(read) == 1


def test_where_psycopg_is_not_asked_the_transaction_goes_on(make: Make) -> None:
    """Only psycopg has to cancel the statement, with which its transaction is over."""
    watched = make()

    def read(connection: Connection) -> Any:
        connection.execute(text("CREATE TABLE kept (n INTEGER)"))
        with pytest.raises(ResultTooLargeError):
            connection.execute(text(watched.numbers(100_000)))
        if "psycopg" in watched.driver:
            with pytest.raises(DBAPIError, match="aborted"):
                connection.execute(text("SELECT 1"))
            return 0
        return connection.execute(text("SELECT count(*) FROM kept")).scalar_one()

    assert watched.run(read) == 0


def test_the_error_names_the_line_and_the_statement_without_its_values(make: Make) -> None:
    """Neither a parameter nor what is quoted is shown, and what to do is."""
    watched = make()
    statement = text(
        f"SELECT n, 'it''s secret' AS s FROM ({watched.numbers(5000)}) AS t WHERE n <> :wanted"
    )

    def read(connection: Connection) -> None:
        connection.execute(statement, {"wanted": 4711})

    with pytest.raises(ResultTooLargeError) as caught:
        watched.run(read)
    message = str(caught.value)
    line = read.__code__.co_firstlineno + 1
    assert f"at {Path(__file__).relative_to(Path.cwd())}:{line}:" in message
    assert "SELECT n, ? AS s FROM" in message
    assert "secret" not in message
    assert "4711" not in message
    assert "db.stream" in message
    assert "max_rows=..." in message


async def test_behind_a_coroutine_the_line_is_that_of_the_coroutine(tmp_path: Path) -> None:
    """SQLAlchemy's greenlets are seen through."""
    watched = Watched("aiosqlite", f"sqlite:///{tmp_path}/test.db")

    async def ask() -> None:
        async with watched.async_engine.connect() as connection:
            await connection.execute(text(watched.numbers(5000)))

    with pytest.raises(ResultTooLargeError, match=rf":{ask.__code__.co_firstlineno + 2}: add"):
        await ask()
    await watched.async_engine.dispose()


def test_large_rows_are_stopped_by_their_bytes(make: Make) -> None:
    """As many small ones would pass."""
    watched = make(max_bytes=2 * MIB)
    large = watched.large(10_000)

    def read(connection: Connection) -> int:
        return len(connection.execute(
            text(f"SELECT {large} AS x FROM ({watched.numbers(190)}) AS t")).all())  # fmt: skip

    assert watched.run(read) == 190
    with pytest.raises(ResultTooLargeError, match=r"more than 1 MB"):
        make(max_bytes=MIB).run(read)


def test_rows_of_megabytes_are_stopped_within_a_few(make: Make) -> None:
    """Before most of the first chunk has come; nor does the error keep what was loaded."""
    watched = make(max_bytes=4 * MIB)
    huge = text(f"SELECT {watched.large(2 * MIB)} AS x FROM ({watched.numbers(90)}) AS t")

    def read(connection: Connection) -> Any:
        before_bytes = peak_bytes()
        with pytest.raises(ResultTooLargeError, match=r"more than 4 MB"):
            connection.execute(huge)
        grown_bytes = peak_bytes() - before_bytes
        connection.rollback()
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
        return grown_bytes

    assert watched.run(read) < 60 * MIB


def test_within_the_first_chunk_asyncpg_asks_for_what_arrives(postgres: str) -> None:
    """What is refused is cut off, and the connection is had anew after a rollback."""
    watched = Watched("asyncpg", postgres)
    large = text(f"SELECT {watched.large(MIB)} AS x FROM ({watched.numbers(20)}) AS t")

    def read(connection: Connection) -> Any:
        with granting() as reserver:
            assert len(connection.execute(large).all()) == 20
            assert reserver.kept_bytes == 0
            assert sum(size_bytes for size_bytes, _ in reserver.asked) > 15 * MIB
            assert 19 * MIB < reserver.taken_bytes < 23 * MIB
        with granting(grants=False), pytest.raises(MemoryShortError):
            connection.execute(large)
        connection.rollback()
        return connection.execute(text("SELECT 1")).scalar_one()

    assert watched.run(read) == 1


def test_bounds_of_a_statement_that_make_no_sense_are_refused(make: Make) -> None:
    """SQLAlchemy says which statement it was."""
    watched = make()
    for given in ({"max_rows": "5"}, {"max_bytes": "1 KB"}, {"max_rows": -1}, {"max_rows": True}):
        statement = text("SELECT 1").execution_options(**given)
        with pytest.raises(StatementError, match=f"ConfigError.*{next(iter(given))} is a whole"):
            watched.run(partial(Connection.execute, statement=statement))


@pytest.mark.parametrize(
    "statement", ["EXPLAIN {}", "EXECUTE numbers", "FETCH ALL IN numbers", "SHOW ALL"]
)
@pytest.mark.parametrize("driver", ["psycopg", "psycopg_async", "asyncpg"])
def test_other_statements_with_rows_are_counted_too(
    driver: str, statement: str, postgres: str
) -> None:
    """Whatever the word is that they begin with."""
    watched = Watched(driver, postgres, max_rows=10)
    numbers = watched.numbers(100)
    union = " UNION ALL ".join(f"SELECT {n}" for n in range(100))

    def read(connection: Connection) -> Any:
        if statement.startswith("EXECUTE"):
            connection.execute(text(f"PREPARE numbers AS {numbers}"))
        elif statement.startswith("FETCH"):
            connection.execute(text(f"DECLARE numbers CURSOR FOR {numbers}"))
        with pytest.raises(ResultTooLargeError):
            connection.execute(text(statement.format(union)))
        connection.rollback()
        return connection.execute(text("SHOW server_version_num")).scalar_one()

    assert watched.run(read)


def test_leading_comments_cost_no_time() -> None:
    """However many they are."""
    statement = "/* a */ " * 5000 + "UPDATE x SET a = 1"
    begun_seconds = time.process_time()
    assert not _RETURNS_ROWS.match(statement)
    assert time.process_time() - begun_seconds < 1
    assert _RETURNS_ROWS.match("/* a */ -- b\n ( /* c * / d **/ select 1)")


def test_a_statement_or_a_connection_may_have_bounds_of_its_own(make: Make) -> None:
    """More, fewer, or none."""
    watched = make()

    def read(connection: Connection) -> int:
        more = text(watched.numbers(1500)).execution_options(max_rows=2000)
        return len(connection.execute(more).all())

    assert watched.run(read) == 1500
    with pytest.raises(ResultTooLargeError, match="more than 10 rows"):
        make().run(lambda connection: connection.execute(text(watched.numbers(11))), max_rows=10)
    unbounded = watched.numbers(3000)
    assert len(make().run(lambda connection: connection.execute(text(unbounded)).all(),
                          max_rows=None)) == 3000  # fmt: skip


def test_warned_about_once_a_minute_it_goes_on(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """In that mode all rows are loaded."""
    watched = make(mode="warn")
    statement = text(f"SELECT n AS {watched.driver} FROM ({watched.numbers(1700)}) AS t")

    def read(connection: Connection) -> list[int]:
        return [len(connection.execute(statement).all()) for _ in range(3)]

    with caplog.at_level(logging.WARNING, "tonnage.db"):
        assert watched.run(read) == [1700] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "loads more than 1000 rows at once and goes on" in caplog.text


def test_off_is_off(make: Make) -> None:
    """In that mode nothing is counted."""
    watched = make(mode="off")
    statement = text(watched.numbers(2500))
    assert len(watched.run(lambda connection: connection.execute(statement).all())) == 2500


def test_with_autocommit_the_same_holds(make: Make) -> None:
    """Where each statement is a transaction of its own."""
    watched = make()

    def read(connection: Connection) -> int:
        with pytest.raises(ResultTooLargeError):
            connection.execute(text(watched.numbers(3000)))
        connection.execute(text("CREATE TABLE auto (n INTEGER)"))
        connection.execute(text("INSERT INTO auto VALUES (1), (2)"))
        found = len(connection.execute(text(watched.numbers(900))).all())
        connection.execute(text("DROP TABLE auto"))
        return found

    assert watched.run(read, isolation_level="AUTOCOMMIT") == 900


def test_driver_statements_are_counted_too(make: Make) -> None:
    """Also behind a comment."""
    watched = make()

    def read(connection: Connection) -> Any:
        with pytest.raises(ResultTooLargeError):
            connection.exec_driver_sql(f"/* all */ {watched.numbers(1001)}")
        connection.rollback()
        return connection.exec_driver_sql(watched.numbers(5)).scalars().all()

    assert watched.run(read) == [1, 2, 3, 4, 5]


def test_returned_rows_are_counted_unless_as_many_were_given(make: Make) -> None:
    """What INSERT returns of given rows is never too much; of UPDATE and DELETE it may be."""
    watched = make(max_rows=500)
    values = [{"name": f"event {n}"} for n in range(1200)]
    returning = insert(Event).returning(Event.id)

    def write(connection: Connection) -> tuple[Any, ...]:
        made = connection.execute(returning, values).all()
        connection.commit()
        some = connection.execute(
            update(Event).where(Event.id.in_([row.id for row in made[:250]])).values(name="x")
            .returning(Event.id)
        )  # fmt: skip
        changed = some.rowcount, len(some.all())
        connection.commit()
        with pytest.raises(ResultTooLargeError):
            connection.execute(delete(Event).returning(Event.id))
        connection.rollback()
        none = connection.execute(delete(Event).where(Event.id == -1).returning(Event.id)).all()
        return len(made), changed, none, connection.execute(delete(Event)).rowcount

    with tables(watched, Base.metadata):
        made, changed, none, deleted = watched.run(write)
    assert (made, changed[1], none, deleted) == (1200, 250, [], 1200)
    assert changed[0] == 250


def test_defaults_that_are_asked_for_beforehand_are_there(postgres: str) -> None:
    """They run on the cursor of the statement that they are for."""
    made = Table("serials", MetaData(), Column("id", Integer, Sequence("serial"), primary_key=True),
                 implicit_returning=False)  # fmt: skip
    for driver in ("psycopg", "psycopg_async", "asyncpg"):
        watched = Watched(driver, postgres)

        def write(connection: Connection) -> Any:
            result = connection.execute(insert(made))
            several = connection.execute(insert(made).values(id=text("nextval('serial')"))
                                         .returning(made.c.id))  # fmt: skip
            return tuple(result.inserted_primary_key or ()), several.scalar_one()

        with tables(watched, made.metadata):
            assert watched.run(write) == ((1,), 2)


def test_rows_are_had_from_a_result_one_by_one_and_in_parts(make: Make) -> None:
    """As from any other; all of them have been loaded."""
    watched = make()

    def read(connection: Connection) -> None:
        result = connection.execute(text(watched.numbers(300)))
        assert result.scalar() == 1
        result = connection.execute(text(watched.numbers(300)))
        assert [result.fetchone(), result.fetchmany(2), len(result.fetchmany(200))] == [
            (1,), [(2,), (3,)], 200]  # fmt: skip
        assert connection.execute(text("SELECT 5")).scalar_one() == 5
        assert [row.n for row in result] == list(range(204, 301))
        raw = connection.connection.cursor()
        raw.execute("SELECT 6")
        assert raw.fetchall()[0][0] == 6
        raw.close()

    watched.run(read)


def test_sessions_work_as_ever_and_are_counted(make: Make) -> None:
    """Flush, get, scalars, relationships, savepoints, locks, and IN with many values."""
    watched = make(max_rows=500)

    def work(connection: Connection) -> None:
        with Session(connection) as session:
            session.add_all(Event(name=f"{n}", guests=[Guest()]) for n in range(600))
            session.commit()
            first = session.get_one(Event, session.scalar(select(Event.id).order_by(Event.id)
                                                          .limit(1)))  # fmt: skip
            assert first.name == "0"
            session.expire_all()
            some = select(Event).order_by(Event.id).limit(300).options(selectinload(Event.guests))
            events = session.scalars(some).all()
            assert len(events) == 300
            assert all(len(event.guests) == 1 for event in events)
            assert session.execute(select(Event.name).where(
                Event.name.in_(bindparam("names", expanding=True))),
                {"names": ["1", "2"]}).scalars().all() == ["1", "2"]  # fmt: skip
            with session.begin_nested():
                pairs = select(Event, Guest).join(Guest).limit(100).with_for_update()
                assert len(session.execute(pairs).all()) == 100
            with pytest.raises(ResultTooLargeError), session.begin_nested():
                session.scalars(select(Event)).all()
            assert session.scalars(select(Event.id).limit(1)).first() is not None

    with tables(watched, Base.metadata):
        watched.run(work)


def test_the_applications_own_streams_are_not_counted(make: Make) -> None:
    """Neither stream_results nor yield_per, also if all is gathered."""
    watched = make()
    statement = text(watched.numbers(5000))

    def read(connection: Connection) -> tuple[int, int]:
        own = connection.execute(statement, execution_options={"stream_results": True})
        partitions = connection.execute(statement, execution_options={"yield_per": 500})
        return len(own.all()), sum(map(len, partitions.partitions()))

    assert watched.run(read) == (5000, 5000)


def test_after_a_load_the_table_can_be_altered_in_the_same_transaction(make: Make) -> None:
    """No cursor is left open in the server."""
    watched = make()

    def work(connection: Connection) -> list[str]:
        connection.execute(text("CREATE TABLE one (n INTEGER)"))
        connection.execute(text("INSERT INTO one " + watched.numbers(150)))
        assert len(connection.execute(text("SELECT n FROM one")).all()) == 150
        connection.execute(text("ALTER TABLE one ADD COLUMN m INTEGER"))
        assert connection.execute(text("SELECT m FROM one")).rowcount in (-1, 150)
        connection.execute(text("DROP TABLE one"))
        return inspect(connection).get_table_names()

    assert "one" not in watched.run(work)


def test_a_statement_that_is_wrong_fails_as_ever(make: Make) -> None:
    """Also in the middle of its rows, and when it has been prepared."""
    watched = make()

    def read(connection: Connection) -> Any:
        for _ in range(8):  # more often than psycopg needs to prepare it
            assert connection.execute(text("SELECT :n + 1"), {"n": 1}).scalar_one() == 2
            with pytest.raises(DBAPIError), connection.begin_nested():
                connection.execute(text("SELECT nothing"))
        with pytest.raises(DBAPIError):
            connection.execute(text(f"SELECT abs(-9223372036854775807 - 1) / (n - 600) FROM"
                                    f" ({watched.numbers(900)}) AS t")).all()  # fmt: skip

    watched.run(read)


@pytest.mark.parametrize("driver", ["aiosqlite", "psycopg_async", "asyncpg"])
async def test_with_async_and_await(driver: str, postgres: str, tmp_path: Path) -> None:
    """Results are read outside of SQLAlchemy's greenlets."""
    url = f"sqlite:///{tmp_path}/test.db" if driver == "aiosqlite" else postgres
    watched = Watched(driver, url)
    engine = watched.async_engine
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        session.add_all(Event(name=f"{n}") for n in itertools.islice(itertools.count(), 1100))
        await session.commit()
        assert len((await session.scalars(select(Event).limit(700))).all()) == 700
        with pytest.raises(ResultTooLargeError):
            await session.scalars(select(Event))
        await session.rollback()
        streamed = [row.id async for row in await session.stream(select(Event.id))]
        assert len(streamed) == 1100
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
    await engine.dispose()


def test_what_is_loaded_beyond_the_first_rows_is_asked_for(make: Make) -> None:
    """In the event loop where there is one; and nothing is kept afterwards."""
    watched = make(max_rows=5000)
    statement = text(f"SELECT {watched.large(5000)} AS x FROM ({watched.numbers(1000)}) AS t")

    def read(connection: Connection) -> None:
        connection.execute(text("SELECT 1")).all()
        assert reserver.asked == []
        assert len(connection.execute(statement).all()) == 1000

    with granting() as reserver:
        watched.run(read)
    assert reserver.kept_bytes == 0
    assert {where for _, where in reserver.asked} == {"loop" if watched.is_async else "thread"}
    assert 3.5 * MIB < sum(size_bytes for size_bytes, _ in reserver.asked) < 7 * MIB
    assert max(size_bytes for size_bytes, _ in reserver.asked) < 1.2 * MIB


def test_where_memory_is_short_the_query_is_refused(make: Make) -> None:
    """The request gets 503, and the connection can be used further."""
    watched = make(max_rows=5000)

    def read(connection: Connection) -> Any:
        with granting(grants=False), pytest.raises(MemoryShortError):
            connection.execute(text(watched.numbers(3000)))
        connection.rollback()
        return connection.execute(text("SELECT 1")).scalar_one()

    assert watched.run(read) == 1


async def test_a_synchronous_engine_in_an_event_loop_asks_for_nothing(tmp_path: Path) -> None:
    """It would stop the loop that is to grant it."""
    watched = Watched("sqlite", f"sqlite:///{tmp_path}/test.db")
    statement = text(watched.numbers(900))
    with granting(grants=False):
        assert len(watched.run(lambda connection: connection.execute(statement).all())) == 900


def test_watched_again_an_engine_has_the_later_bounds(tmp_path: Path) -> None:
    """Not the lowest of both, nor is anything counted twice."""
    watched = Watched("sqlite", f"sqlite:///{tmp_path}/test.db", max_rows=10)
    watch(watched.engine, bounded(max_rows=20))
    statement = text(watched.numbers(20))
    assert len(watched.run(lambda connection: connection.execute(statement).all())) == 20
    with pytest.raises(ResultTooLargeError, match="more than 20 rows"):
        watched.run(lambda connection: connection.execute(text(watched.numbers(21))))


async def test_the_engines_of_tonnage_have_the_guard(tmp_path: Path) -> None:
    """With the bounds that they are given, or those of the options."""
    url = f"sqlite:///{tmp_path}/test.db"
    statement = text(NUMBERS["sqlite"].format(10_001))
    engine = db.async_engine(url)
    async with engine.connect() as connection:
        with pytest.raises(ResultTooLargeError, match="more than 10000 rows"):
            await connection.execute(statement)
    await engine.dispose()
    plain = db.engine(url, max_rows=11_000, name="other")
    with plain.connect() as own:
        assert len(own.execute(statement).all()) == 10_001
    plain.dispose()
