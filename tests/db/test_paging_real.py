"""Pages of lists in PostgreSQL, and of lists that change while they are read."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Engine,
    Index,
    Integer,
    MetaData,
    Table,
    cast,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.ext.asyncio import create_async_engine
from tests.db.paging_lists import (
    KINDS,
    ROWS,
    THINGS,
    order_by,
    orders,
    read_backwards,
    read_forwards,
)
from tests.db.paging_places import PLACES, made_up_places

from tonnage import db
from tonnage.db.paging.cursors import Cursors
from tonnage.db.paging.order import order_of, words_of
from tonnage.errors import PageCursorError

pytestmark = pytest.mark.real

ROWS_IN_LIST = 20_000
PAGE = 100
#: Ordered by what has ties and NULLs; every fourth row may go while the list is read.
EVENTS = Table(
    "events",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("size", Integer),
    Index("ix_events_size", "size", "id"),
)
BY_SIZE = select(EVENTS).order_by(EVENTS.c.size)


@pytest.fixture(scope="module")
def url(new_postgres_url: Callable[[], str]) -> str:
    """Return the URL of an empty database."""
    return new_postgres_url()


@pytest.fixture(scope="module")
def postgres(url: str) -> Iterator[Engine]:
    """Yield an engine for it."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    yield engine
    engine.dispose()


@pytest.fixture(params=["postgresql", "sqlite"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Yield an engine for an empty database of either kind."""
    if request.param == "postgresql":
        engine = request.getfixturevalue("postgres")
        yield engine
        return
    engine = create_engine(f"sqlite:///{tmp_path / 'events.db'}")

    @event.listens_for(engine, "connect")
    def with_log(connection: Any, record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")

    yield engine
    engine.dispose()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, orders(), st.integers(1, 4))
def test_pages_together_are_the_list(
    postgres: Engine, rows: list[dict[str, Any]], order: Any, size: int
) -> None:
    """Whatever it is ordered by, with NULLs and ties; forwards and backwards."""
    with postgres.connect() as connection:
        THINGS.create(connection)
        if rows:
            connection.execute(insert(THINGS), rows)
        whole = list(connection.execute(select(THINGS).order_by(*order_by(order, with_id=True))))
        statement = select(THINGS).order_by(*order_by(order))
        assert read_forwards(connection, statement, size) == whole
        assert read_backwards(connection, statement, size) == whole


async def test_cursors_hold_what_drivers_give(url: str, postgres: Engine) -> None:
    """Values of all kinds, by both drivers, with NULLs between them."""
    ordered = Table(
        "ordered",
        MetaData(),
        Column("id", Integer, primary_key=True),
        *(
            Column(f"value_{at}", kind)
            for at, (kind, _) in enumerate(KINDS)
            if not isinstance(kind, type) or kind is not Integer
        ),
        Column("moment", DateTime(timezone=True), server_default=func.now()),
    )
    columns = [column for column in ordered.c if column.name != "id"]
    rows = [
        {"id": n, **{f"value_{at}": made(n) for at, (_, made) in enumerate(KINDS)}}
        for n in range(1, 6)
    ]
    try:
        with postgres.begin() as connection:
            ordered.create(connection)
            kept = [{name: row[name] for name in row if name in ordered.c} for row in rows]
            connection.execute(insert(ordered), kept)
            connection.execute(insert(ordered), {"id": 9})
            whole = {
                column: connection.scalars(
                    select(ordered.c.id).order_by(column, ordered.c.id)
                ).all()
                for column in columns
            }
            for column in columns:
                statement = select(ordered.c.id).order_by(column)
                assert read_forwards(connection, statement, 2) == whole[column]
                assert read_backwards(connection, statement, 2) == whole[column]
        engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
        async with engine.connect() as awaited:
            for column in columns:
                statement = select(ordered.c.id).order_by(column)
                page = await db.page(awaited, statement, size=4)
                found = list(page.rows)
                while page.next:
                    page = await db.page(awaited, statement, size=4, after=page.next)
                    found += page.rows
                assert found == whole[column]
        await engine.dispose()
    finally:
        with postgres.begin() as connection:
            ordered.metadata.drop_all(connection)


def test_a_made_up_place_is_no_error_of_the_application(postgres: Engine) -> None:
    """The driver and the server never see it."""
    with postgres.connect() as connection:
        THINGS.create(connection)
        for value, column in [
            (2**31, THINGS.c.b),
            (1.5, THINGS.c.b),
            ("1", THINGS.c.b),
            ("\x00", THINGS.c.c),
            (7, THINGS.c.c),
        ]:
            statement = select(THINGS).order_by(column)
            words = words_of(order_of(statement, connection.dialect), connection.dialect)
            with pytest.raises(PageCursorError, match="does not fit"):
                db.page(connection, statement, after=Cursors(words).write([value, 1]))


async def test_a_sum_of_integers_can_be_ordered_by(url: str, postgres: Engine) -> None:
    """Though it may be longer than they, or no integer to Python."""
    sums = [
        select(THINGS.c.id).order_by(
            select(func.sum(cast(other.c.b, kind) * 2_000_000_000).label("sum"))
            .where(other.c.b <= THINGS.c.b)
            .scalar_subquery()
        )
        for kind in (Integer, BigInteger)
        for other in [THINGS.alias()]
    ]
    with postgres.begin() as connection:
        THINGS.create(connection)
        connection.execute(insert(THINGS), [{"id": n, "b": n % 2} for n in range(5)])
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    try:
        for statement in sums:
            with postgres.connect() as connection:
                assert read_forwards(connection, statement, 2) == [0, 2, 4, 1, 3]
                assert read_backwards(connection, statement, 2) == [0, 2, 4, 1, 3]
            async with engine.connect() as awaited:
                first = await db.page(awaited, statement, size=4)
                rest = await db.page(awaited, statement, after=first.next)
                assert [*first.rows, *rest.rows] == [0, 2, 4, 1, 3]
    finally:
        await engine.dispose()
        with postgres.begin() as connection:
            THINGS.drop(connection)


async def test_no_made_up_place_reaches_the_server(url: str, postgres: Engine) -> None:
    """By either driver; columns of all kinds, and values that fit others."""
    refused = {"psycopg": 0, "asyncpg": 0}
    with postgres.connect() as connection:
        PLACES.create(connection)
        for _, statement, cursor in made_up_places(connection.dialect):
            try:
                db.page(connection, statement, after=cursor)
            except PageCursorError:
                refused["psycopg"] += 1
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.connect() as awaited:
        await awaited.run_sync(PLACES.create)
        for _, statement, cursor in made_up_places(awaited.dialect):
            try:
                await db.page(awaited, statement, after=cursor)
            except PageCursorError:
                refused["asyncpg"] += 1
    await engine.dispose()
    assert all(refused.values())


def test_no_row_is_missed_or_doubled_while_others_come_and_go(engine: Engine) -> None:
    """Of those that were there throughout, each is read once, and in order."""
    with filled(engine):
        staying = set(range(0, ROWS_IN_LIST * 4, 4))
        ended = threading.Event()
        changes = [0]
        thread = threading.Thread(target=change, args=(engine, ended, changes))
        thread.start()
        read: list[int] = []
        cursor: str | None = None
        try:
            for _ in range(ROWS_IN_LIST):
                # Each from a transaction of its own, as requests are.
                with engine.connect() as connection:
                    page = db.page(connection, BY_SIZE, size=PAGE, after=cursor)
                read += [row.id for row in page.rows]
                cursor = page.next
                if cursor is None:
                    break
        finally:
            ended.set()
            thread.join()
        with engine.connect() as connection:
            whole = connection.scalars(select(EVENTS.c.id).order_by(EVENTS.c.size, EVENTS.c.id))
            there = [each for each in whole if each in staying]
    assert cursor is None
    assert changes[0] > 0
    assert [each for each in read if each in staying] == there
    # Otherwise nothing was seen of what changed meanwhile.
    assert len(read) > len(there) == ROWS_IN_LIST


def test_a_late_page_costs_what_the_first_does(engine: Engine) -> None:
    """Counted in what the database reads for it, which no other load changes."""
    with filled(engine), engine.connect() as connection:
        first = db.page(connection, BY_SIZE, size=PAGE)
        assert first.next is not None
        costs = {"first": cost(connection, after=first.next)}
        words = words_of(order_of(BY_SIZE, connection.dialect), connection.dialect)
        # Among those with a value, and among those without, wherever the database has them.
        for passed_over in (8000, 14_000, 19_000):
            row = connection.execute(BY_SIZE.order_by(EVENTS.c.id).offset(passed_over)).first()
            assert row is not None
            place = Cursors(words).write([row.size, row.id])
            costs[f"after {passed_over}"] = cost(connection, after=place)
            costs[f"before {passed_over}"] = cost(connection, before=place)
        offset = cost_of_offset(connection)
    assert max(costs.values()) <= 2 * min(costs.values()), costs
    # So that it is known to be counted: what an offset passes over is read.
    assert offset > 5 * max(costs.values()), (offset, costs)


@contextmanager
def filled(engine: Engine) -> Iterator[None]:
    """Have the list be there, with ids 4 apart; an eighth has no size."""
    chance = random.Random(7)
    with engine.begin() as connection:
        EVENTS.create(connection)
        connection.execute(
            insert(EVENTS),
            [
                {"id": n * 4, "size": chance.randrange(500) if n % 8 else None}
                for n in range(ROWS_IN_LIST)
            ],
        )
        connection.execute(text("ANALYZE"))
    try:
        yield
    finally:
        with engine.begin() as connection:
            EVENTS.drop(connection)


def change(engine: Engine, ended: threading.Event, changes: list[int]) -> None:
    """Insert rows between those that stay, and delete such, until it is ended."""
    chance = random.Random(11)
    while not ended.is_set():
        ids = [4 * chance.randrange(ROWS_IN_LIST) + chance.randrange(1, 4) for _ in range(20)]
        with engine.begin() as connection:
            connection.execute(EVENTS.delete().where(EVENTS.c.id.in_(ids)))
            rows = [
                {"id": each, "size": chance.choice([None, chance.randrange(500)])}
                for each in set(ids)
            ]
            connection.execute(insert(EVENTS), rows)
            gone = [4 * chance.randrange(ROWS_IN_LIST) + chance.randrange(1, 4) for _ in range(20)]
            connection.execute(EVENTS.delete().where(EVENTS.c.id.in_(gone)))
        changes[0] += 1


def cost(connection: Connection, *, after: str | None = None, before: str | None = None) -> int:
    """Return what the statements of a page cost the database."""
    return _cost(
        connection, lambda: db.page(connection, BY_SIZE, size=PAGE, after=after, before=before)
    )


def cost_of_offset(connection: Connection) -> int:
    """Return what the same costs by its number."""
    number = ROWS_IN_LIST // PAGE
    return _cost(
        connection,
        lambda: db.page_of(connection, BY_SIZE, number, size=PAGE, max_offset=ROWS_IN_LIST),
    )


def _cost(connection: Connection, ask: Any) -> int:
    if connection.dialect.name == "sqlite":
        return _steps_of(connection, ask)
    asked: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    ask()
    event.remove(connection, "before_cursor_execute", note)
    return sum(
        _rows_read(
            connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters
            ).scalar_one()[0]["Plan"]
        )
        for statement, parameters in asked
    )


def _rows_read(plan: dict[str, Any]) -> int:
    """Return how many rows PostgreSQL reads from tables and indexes, wanted or not."""
    within = plan.get("Plans", [])
    if within:
        return sum(map(_rows_read, within))
    return int(plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0))


def _steps_of(connection: Connection, ask: Any) -> int:
    """Return how many steps, of 100 each, SQLite's machine takes."""
    steps = [0]

    def step() -> int:
        steps[0] += 1
        return 0

    driver = connection.connection.driver_connection
    assert driver is not None
    driver.set_progress_handler(step, 100)
    ask()
    driver.set_progress_handler(None, 0)
    return steps[0]
