"""PostgreSQL as a sink: a real server, from the first batch to the one that comes twice."""

from __future__ import annotations

import asyncio
import datetime
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from tests.support.forking import await_in_child
from tests.support.postgres import PostgresServer

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.sinks import Batch, PostgresSink

pytestmark = pytest.mark.real

TABLE = """
CREATE SCHEMA stats;
CREATE TABLE stats.events (
    number bigserial PRIMARY KEY,
    id text UNIQUE,
    name varchar(10) NOT NULL,
    score integer CHECK (score < 100),
    details jsonb,
    at timestamptz DEFAULT now(),
    key uuid UNIQUE
)
"""


@asynccontextmanager
async def sink_of(url: str, **given: Any) -> AsyncIterator[PostgresSink]:
    """Make the table and yield a sink for it."""
    await ask(url, TABLE)
    sink = PostgresSink(url, "stats.events", **given)
    try:
        yield sink
    finally:
        await sink.close()


async def ask(url: str, query: str) -> list[Any]:
    """Return the rows as tuples, by a connection of its own; or what a script returns, nothing."""
    connection = await asyncpg.connect(url)
    try:
        if ";" in query:
            await connection.execute(query)
            return []
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def names(url: str) -> list[str]:
    """Return the names that are in the table."""
    return [row[0] for row in await ask(url, "SELECT name FROM stats.events ORDER BY number")]


async def test_records_are_stored_with_their_types(postgres_url: str) -> None:
    """Records are stored with their types."""
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    key = uuid.uuid4()
    record = {"name": "a", "score": 7, "details": {"x": [1, None]}, "at": at, "key": key}
    async with sink_of(postgres_url) as sink:
        await sink.write(Batch([record]))
        rows = await ask(postgres_url, "SELECT name, score, details, at, key FROM stats.events")
    assert rows == [("a", 7, '{"x": [1, null]}', at, key)]


async def test_a_record_without_a_key_gets_the_default(postgres_url: str) -> None:
    """A record without a key gets the default, also among others that have it."""
    old = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
    async with sink_of(postgres_url) as sink:
        await sink.write(Batch([{"name": "a", "at": old}, {"name": "b"}, {"at": old, "name": "c"}]))
        rows = await ask(postgres_url, "SELECT name, at > '2020-01-01' FROM stats.events")
    assert sorted(rows) == [("a", False), ("b", True), ("c", False)]


async def test_columns_that_are_given_are_all_there_are(postgres_url: str) -> None:
    """Columns that are given are all there are: what lacks one is NULL, any other is rejected."""
    async with sink_of(postgres_url, columns=["name", "at"]) as sink:
        await sink.write(Batch([{"name": "a"}]))
        with pytest.raises(RecordsRejectedError, match="no column is called 'score'"):
            await sink.write(Batch([{"name": "a"}, {"name": "b", "score": 1}]))
        assert await ask(postgres_url, "SELECT name, at FROM stats.events") == [("a", None)]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"name": "longer than ten"}, "too long for type"),
        ({"name": "secret\0"}, "invalid byte sequence"),
        ({"name": "\ud800"}, "surrogates not allowed"),
        ({"name": 7}, "expected str, got int"),
        ({"name": None}, "column name: NotNullViolation"),
        ({"name": "a", "score": 1 << 40}, "int32"),
        ({"name": "a", "score": "secret"}, "interpreted as an integer"),
        ({"name": "a", "score": 100}, "events_score_check"),
        ({"name": "a", "key": "secret"}, "invalid UUID"),
        ({"name": "a", "details": {"x": object}}, "no JSON for type"),
        ({"name": "a", "details": "no secret"}, "invalid input syntax for type json"),
        ({"name": "a", "nobody": 1}, 'column "nobody"'),
        ({"name": "a", "at": datetime.timedelta(1)}, "TypeError|AttributeError"),
    ],
)
async def test_what_cannot_be_stored_is_rejected_and_nothing_of_its_batch_is_stored(
    postgres_url: str, record: dict[str, Any], reason: str
) -> None:
    """What cannot be stored is rejected, with a reason that does not repeat it; then it goes on."""
    async with sink_of(postgres_url) as sink:
        await sink.write(Batch([{"name": "first"}]))
        server = await ask(postgres_url, "SELECT count(*) FROM pg_stat_activity")
        with pytest.raises(RecordsRejectedError, match=reason) as caught:
            await sink.write(Batch([{"name": "b"}, record, {"name": "c"}]))
        assert "secret" not in str(caught.value)
        await sink.write(Batch([{"name": "last"}]))
        assert await names(postgres_url) == ["first", "last"]
        # By the same connection.
        assert await ask(postgres_url, "SELECT count(*) FROM pg_stat_activity") == server


async def test_what_has_an_id_is_stored_once(postgres_url: str) -> None:
    """What has an id is stored once, however often it is tried, and within one batch."""
    async with sink_of(postgres_url, id_column="id") as sink:
        batch = Batch([{"name": "a"}, {"name": "b"}], ["1", "2"])
        for _ in range(3):
            await sink.write(batch)
        # One is there, one is new, one comes twice, one brings its own id, one has other keys.
        records = [{"name": "b"}, {"name": "c"}, {"name": "c"}, {"name": "d", "id": "own"}]
        await sink.write(Batch([*records, {"name": "e", "score": 1}], ["2", "3", "3", "4", "5"]))
        await sink.write(Batch([{"name": "f"}]))
        rows = await ask(postgres_url, "SELECT id, name FROM stats.events")
    expected = {("1", "a"), ("2", "b"), ("3", "c"), ("own", "d"), ("5", "e"), (None, "f")}
    assert (set(rows), len(rows)) == (expected, 6)


async def test_ids_go_with_columns_that_are_given(postgres_url: str) -> None:
    """Ids go with columns that are given."""
    async with sink_of(postgres_url, id_column="id", columns=["name"]) as sink:
        for _ in range(2):
            await sink.write(Batch([{"name": "a"}], ["1"]))
        await sink.write(Batch([{"name": "b"}]))
        rows = await ask(postgres_url, "SELECT id, name FROM stats.events ORDER BY number")
    assert rows == [("1", "a"), (None, "b")]


async def test_another_unique_column_is_no_id(postgres_url: str) -> None:
    """What is unique beside the id is not left out in silence."""
    key = uuid.uuid4()
    async with sink_of(postgres_url, id_column="id") as sink:
        await sink.write(Batch([{"name": "a", "key": key}], ["1"]))
        with pytest.raises(RecordsRejectedError, match="events_key_key"):
            await sink.write(Batch([{"name": "b", "key": key}], ["2"]))


async def test_a_table_that_is_not_there_is_waited_for(postgres_url: str) -> None:
    """A table that is not there is no fault of the records."""
    sink = PostgresSink(postgres_url, "later")
    with pytest.raises(asyncpg.UndefinedTableError):
        await sink.write(Batch([{"name": "a"}]))
    await ask(postgres_url, "CREATE TABLE later (name text);")
    await sink.write(Batch([{"name": "a"}]))
    await sink.close()
    assert await ask(postgres_url, "SELECT * FROM later") == [("a",)]


async def test_two_writers_may_share_a_sink(postgres_url: str) -> None:
    """Two writers may share a sink: they take turns on one connection."""
    async with sink_of(postgres_url) as sink:
        await asyncio.gather(*(sink.write(Batch([{"name": str(i)}])) for i in range(20)))
        assert len(await names(postgres_url)) == 20


async def test_a_write_that_is_cancelled_leaves_a_sink_that_works(postgres_url: str) -> None:
    """A write that is cancelled, since it takes too long, leaves a sink that works."""
    async with sink_of(postgres_url) as sink:
        await sink.write(Batch([{"name": "a"}]))
        blocker = await asyncpg.connect(postgres_url)
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE stats.events")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await sink.write(Batch([{"name": "b"}]))
        await blocker.close()
        await sink.write(Batch([{"name": "b"}]))
        assert set(await names(postgres_url)) == {"a", "b"}


async def test_a_forked_process_has_a_connection_of_its_own(postgres_url: str) -> None:
    """A forked process has a connection of its own, and that of its parent goes on."""
    async with sink_of(postgres_url) as sink:
        await sink.write(Batch([{"name": "parent"}]))
        child = Batch([{"name": "child"}])
        assert await await_in_child(lambda: sink.write(child), sink.close) == 0
        await sink.write(Batch([{"name": "again"}]))
        assert await names(postgres_url) == ["parent", "child", "again"]


async def test_a_server_that_was_away_is_found_again() -> None:
    """A server that was away is found again; meanwhile each try fails at once."""
    with PostgresServer() as server:
        async with sink_of(server.url) as sink:
            await sink.write(Batch([{"name": "a"}]))
            server.kill()
            for _ in range(2):
                with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
                    await sink.write(Batch([{"name": "b"}]))
            server.start()
            await sink.write(Batch([{"name": "b"}]))
            assert await names(server.url) == ["a", "b"]


def test_a_url_of_something_else_is_refused_without_its_password() -> None:
    """A URL of something else is refused without its password."""
    with pytest.raises(ConfigError, match="does not begin with postgresql://") as caught:
        PostgresSink("mysql://me:secret@there/base", "events")
    assert "secret" not in str(caught.value)


def test_what_it_is_called_has_no_password() -> None:
    """What it is called has no password."""
    sink = PostgresSink("postgresql://me:secret@there/base", 'stats."odd')
    assert repr(sink) == 'PostgresSink("stats"."""odd")'


def nested(depth: int = 5000) -> Any:
    """Return what no writer of JSON can follow to its end."""
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "without keys"),
        ({"": 1}, "no column is called ''"),
        ({"name": "a", "": 1}, "no column is called ''"),
        ({1: 2}, "no column is called 1"),
        ({None: 1}, "no column is called None"),
        ({"a\0b": 1}, "no column is called 'a"),
        ({"\ud800": 1}, r"no column is called '\\ud800'"),
        ({"ctid": "(0,1)"}, "list or tuple"),
        ({"ctid": (0, 1)}, 'column "ctid"'),
        ({"name": "a", "twice": 1}, "generated column"),
        ({"x" * 70: 1}, "does not exist"),
        ({"name" + "x" * 70: 1, "name" + "x" * 71: 1}, "does not exist|more than once"),
        ({str(number): number for number in range(2000)}, "does not exist"),
        ({"name": "a", "details": nested()}, "RecursionError"),
        ({"name": "a", "score": nested()}, "integer|Recursion"),
        ({"name": nested()}, "expected str"),
    ],
)
async def test_what_anybody_may_send_holds_up_nothing(
    postgres_url: str, record: dict[Any, Any], reason: str
) -> None:
    """Whatever keys and values a record of a free form has, it is rejected, and others are not."""
    async with sink_of(postgres_url) as sink:
        await ask(
            postgres_url,
            "ALTER TABLE stats.events ADD twice int GENERATED ALWAYS AS (2 * score) STORED;",
        )
        for batch in (Batch([record]), Batch([{"name": "b"}, record])):
            with pytest.raises(RecordsRejectedError, match=reason):
                await sink.write(batch)
        await sink.write(Batch([{"name": "last"}]))
        assert await names(postgres_url) == ["last"]


async def test_an_id_that_is_none_is_no_id(postgres_url: str) -> None:
    """An id that is None is no id: the one that the writer gave is stored, once."""
    async with sink_of(postgres_url, id_column="id") as sink:
        for _ in range(2):
            await sink.write(Batch([{"name": "a", "id": None}, {"name": "b"}], ["1", "2"]))
        rows = await ask(postgres_url, "SELECT id, name FROM stats.events ORDER BY id")
    assert rows == [("1", "a"), ("2", "b")]
