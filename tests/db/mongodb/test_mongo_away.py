"""MongoDB is away, or its connections are busy: clear errors, bounded waits, and it comes back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, DuplicateKeyError, ServerSelectionTimeoutError
from tests.db.mongodb.conftest import until_it_answers
from tests.support.mongo import MongoServer, direct
from tests.support.waiting import await_true

from tonnage import db
from tonnage.db.mongodb.gate import MOST_WAITING, MongoAwayError, MongoBusyError
from tonnage.errors import DatabaseAwayError, PoolBusyError, RequestRefusedError

pytestmark = pytest.mark.real


@pytest.fixture
def server() -> Iterator[MongoServer]:
    """Yield a server that may be stopped."""
    with MongoServer() as started:
        yield started


def _url(server: MongoServer, **parameters: object) -> str:
    said = {"connect_timeout": 0.5, **parameters}
    return f"{server.database()}?{'&'.join(f'{name}={said[name]}' for name in said)}"


async def test_it_goes_and_comes_back(
    server: MongoServer, caplog: pytest.LogCaptureFixture
) -> None:
    """One operation looks for it, the others are not kept waiting; the log has two lines."""
    caplog.set_level(logging.WARNING, "tonnage.db")
    mongo = db.mongo(_url(server))
    things = mongo.database["things"]
    await things.insert_one({"_id": 1})
    server.kill()
    refusal: Any = None
    while not isinstance(refusal and refusal.__cause__, ServerSelectionTimeoutError):
        # The first may find a broken connection.
        with pytest.raises(MongoAwayError) as caught:
            await things.find_one()
        refusal = caught.value
    assert isinstance(refusal, DatabaseAwayError | RequestRefusedError)
    assert isinstance(refusal, AutoReconnect)
    assert refusal.problem.status == 503
    assert dict(refusal.problem.headers)[b"retry-after"].isdigit()
    assert "127.0.0.1" not in refusal.problem.detail

    begun = time.monotonic()
    found = await asyncio.gather(
        *(things.insert_one({"n": n}) for n in range(200)), return_exceptions=True
    )
    assert all(isinstance(each, MongoAwayError) for each in found)
    took = time.monotonic() - begun
    # All but one at once; that one looks for as long as it may.
    assert took < 5
    server.start()
    await until_it_answers(things)
    assert await things.find_one() == {"_id": 1}
    said = [each.message.split(":")[0] for each in caplog.records]
    # Before that connections broke, or not: it was found out by then.
    assert [line for line in said if line != "database connection lost"] == [
        "database connection failed",
        "database is back",
    ]
    await mongo.close()


async def test_who_waits_for_a_connection_in_vain_is_told(server: MongoServer) -> None:
    """After a bounded time; and nobody opens more than there may be."""
    mongo = db.mongo(_url(server, connection_limit=2, pool_timeout=1.0, connect_timeout=5))
    things = mongo.database["things"]
    await asyncio.gather(*(things.insert_one({"_id": n}) for n in range(6)))
    assert mongo.statistics().open == 2
    server.stop()
    try:
        asked = [asyncio.ensure_future(things.find_one()) for _ in range(10)]
        done, held = await asyncio.wait(asked, timeout=3, return_when=asyncio.FIRST_EXCEPTION)
        while len(done) < 8:
            done, held = await asyncio.wait(asked, timeout=0.1)
        assert all(isinstance(each.exception(), MongoBusyError) for each in done)
        refusal: Any = next(iter(done)).exception()
        assert isinstance(refusal, PoolBusyError)
        assert refusal.problem.status == 503
        assert "all 2 connections of mongo" in refusal.problem.detail
        # That of the server's own count may be one of them.
        assert mongo.statistics().timed_out_total in (8, 9)
        assert (mongo.statistics().in_use, mongo.statistics().waiting) == (2, 0)
    finally:
        server.go_on()
    await asyncio.gather(*held)
    # The server's own count may still have one of them.
    await asyncio.to_thread(
        await_true,
        lambda: (mongo.statistics().in_use, mongo.statistics().idle) == (0, 2),
        "both connections are free",
    )
    await mongo.close()


async def test_not_all_may_wait(server: MongoServer) -> None:
    """Beyond a number they are turned away at once; the others get their answers."""
    mongo = db.mongo(_url(server, connection_limit=1, connect_timeout=5))
    things = mongo.database["things"]
    await things.insert_one({"_id": 1})
    asked = (things.find_one() for _ in range(MOST_WAITING + 100))
    found = await asyncio.gather(*asked, return_exceptions=True)
    refused = [each for each in found if isinstance(each, MongoBusyError)]
    assert found.count({"_id": 1}) + len(refused) == len(found)
    assert 50 <= len(refused) <= 101
    assert mongo.statistics().timed_out_total == len(refused)
    await mongo.close()


async def test_every_kind_of_operation_passes_the_gate(server: MongoServer) -> None:
    """Reads, writes, cursors, aggregations, commands, bulk writes, transactions."""
    mongo = db.mongo(_url(server))
    things = mongo.database["things"]
    await things.insert_many([{"_id": n} for n in range(300)])
    with pytest.raises(DuplicateKeyError):
        await things.insert_one({"_id": 1})
    begun = things.find(batch_size=100)
    await begun.next()
    session = mongo.client.start_session()
    server.kill()

    async def transaction() -> None:
        async with await session.start_transaction():
            await things.insert_one({"_id": -1}, session=session)

    from pymongo import InsertOne

    operations: list[Any] = [
        begun.to_list,
        things.find().to_list,
        things.find_one,
        lambda: things.insert_one({}),
        lambda: things.bulk_write([InsertOne({})]),
        lambda: things.aggregate([]),
        lambda: things.database.command("ping"),
        lambda: things.count_documents({}),
        lambda: things.distinct("_id"),
        mongo.client.list_database_names,
        transaction,
    ]
    for operation in operations:
        with pytest.raises(MongoAwayError):
            await operation()
    await session.end_session()
    server.start()
    await until_it_answers(things)
    assert len(await things.find().to_list()) == 300
    await mongo.close()


async def test_a_cancelled_operation_leaves_the_door_to_others(server: MongoServer) -> None:
    """Also when it was the one that looked for MongoDB."""
    mongo = db.mongo(_url(server, connect_timeout=0.3))
    things = mongo.database["things"]
    server.kill()
    with pytest.raises(MongoAwayError):
        await things.find_one()
    looking = asyncio.ensure_future(things.find_one())
    while not mongo.statistics().waiting:
        # Refused at once, until the next may try.
        if looking.done():
            with pytest.raises(MongoAwayError):
                await looking
            looking = asyncio.ensure_future(things.find_one())
        await asyncio.sleep(0.001)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    server.start()
    await until_it_answers(things)
    await mongo.close()


def test_connections_end_with_their_event_loop(server: MongoServer) -> None:
    """Without a word of the application; the next loop has its own."""
    mongo = db.mongo(_url(server))
    things = mongo.database["things"]
    with direct(server.url) as client:

        def connections() -> int:
            found: int = client.admin.command("serverStatus")["connections"]["current"]
            return found

        before = connections()
        for number in range(3):
            asyncio.run(_insert(things, number))
            now = mongo.statistics()
            assert now.open == 0
            assert now.opened_total == now.closed_total > number
        await_true(lambda: connections() == before, "the server to see them closed")


async def _insert(things: Any, number: int) -> None:
    await things.insert_one({"_id": number})
