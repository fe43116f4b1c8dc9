"""Operations that are cancelled, or broken off: nothing of them is left, and the truth is told."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from bson import SON
from pymongo.errors import ServerSelectionTimeoutError
from pymongo.monitoring import CommandStartedEvent
from tests.db.mongodb.conftest import until_it_answers
from tests.support.mongo import MongoServer
from tests.support.waiting import until

from tonnage import db
from tonnage.db.guard.slow import LINES_PER_SECOND, SlowQueries
from tonnage.db.mongodb.client import Mongo
from tonnage.db.mongodb.events import SlowCommands, under_way
from tonnage.db.mongodb.gate import MOST_WAITING, MongoAwayError

pytestmark = pytest.mark.real


@pytest.fixture
def server() -> Iterator[MongoServer]:
    """Yield a server that may be stopped."""
    with MongoServer() as started:
        yield started


async def _idle(mongo: Mongo) -> None:
    """Have as many connections open as there may be, none of them in use."""
    things = mongo.database["things"]
    await asyncio.gather(*(things.find_one() for _ in range(20)))
    # The server itself is asked for its count once, by a connection too.
    await until(
        lambda: not mongo.statistics().in_use and mongo.statistics().server_connections is not None
    )


async def _close(server: MongoServer, mongo: Mongo) -> None:
    """Close a pool whose server is there: PyMongo leaves a socket that it was about to open."""
    server.start()
    await until_it_answers(mongo.database["things"])
    await mongo.close()


async def test_who_gives_up_waits_no_more(server: MongoServer) -> None:
    """However many did: the next operations are let in."""
    mongo = db.mongo(f"{server.database()}?connection_limit=1")
    things = mongo.database["things"]
    await things.insert_one({"_id": 1})
    await _idle(mongo)
    for _ in range(3):
        held, *others = [asyncio.ensure_future(things.find_one()) for _ in range(300)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        assert await held == {"_id": 1}
    assert await asyncio.gather(*(things.find_one() for _ in range(100))) == [{"_id": 1}] * 100
    now = mongo.statistics()
    assert (now.waiting, now.in_use, now.timed_out_total) == (0, 0, 0)
    await mongo.close()


async def test_nothing_is_kept_of_a_cancelled_command() -> None:
    """PyMongo tells that it was sent, and never how it ended; its filter may be large."""
    slow = SlowCommands(SlowQueries(1.0))
    before = repr(vars(slow))

    async def send(number: int) -> None:
        command = {"find": "things", "filter": {"_id": {"$in": list(range(number))}}}
        slow.started(CommandStartedEvent(SON(command), "app", number, ("h", 1), number))

    await asyncio.gather(*(send(number) for number in range(20)))
    assert repr(vars(slow)) == before
    assert under_way.get() is None


async def test_not_all_may_wait_for_a_server_that_is_gone(server: MongoServer) -> None:
    """As many as for a connection; the others hear at once that it is away."""
    mongo = db.mongo(f"{server.database()}?connect_timeout=1")
    things = mongo.database["things"]
    await things.insert_one({"_id": 1})
    server.kill()
    with pytest.raises(MongoAwayError):
        await things.insert_one({"_id": 2})
    # It was a broken connection, or the server that was looked for.
    asked = [asyncio.ensure_future(things.find_one()) for _ in range(MOST_WAITING + 300)]
    done, waiting = await asyncio.wait(asked, timeout=0.5)
    assert len(done) >= 300
    assert {type(each.exception()) for each in done} == {MongoAwayError}
    assert mongo.statistics().waiting <= MOST_WAITING
    await asyncio.gather(*waiting, return_exceptions=True)
    # Whoever asks the server for its count may wait, too.
    await until(lambda: mongo.statistics().waiting == 0)
    assert mongo.statistics().server_connections is None
    await _close(server, mongo)


async def test_a_write_that_was_sent_may_have_been_done(
    server: MongoServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Who sent it is told so, and the log has a line; a read may simply be sent again."""
    caplog.set_level(logging.WARNING, "tonnage.db")
    # Whoever is sent a second time by PyMongo finds no server.
    mongo = db.mongo(f"{server.database()}?connection_limit=3&connect_timeout=0.3")
    things = mongo.database["things"]
    await things.insert_one({"_id": 1, "n": 0})
    await _idle(mongo)
    server.stop()
    sent = [
        asyncio.ensure_future(things.update_one({"_id": 1}, {"$inc": {"n": 1}})),
        asyncio.ensure_future(things.database.command("ping")),
        asyncio.ensure_future(things.find_one()),
    ]
    await until(lambda: server.unread() >= 3)
    server.kill()
    refusals: list[Any] = await asyncio.gather(*sent, return_exceptions=True)
    assert {type(each) for each in refusals} == {MongoAwayError}
    assert [each.problem.error for each in refusals] == [
        "database_connection_lost",
        "database_connection_lost",
        "database_away",
    ]
    assert "may have been done or not" in refusals[0].problem.detail
    lines = Counter(each.message.partition(":")[0] for each in caplog.records)
    assert 2 <= lines["database connection lost"] <= LINES_PER_SECOND
    # What could not be sent was not done.
    with pytest.raises(MongoAwayError) as caught:
        await things.update_one({"_id": 1}, {"$inc": {"n": 1}})
    assert caught.value.problem.error == "database_away"
    await _close(server, mongo)


async def test_the_log_says_what_happened_in_short(
    server: MongoServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Without PyMongo's picture of all servers, cut in its middle."""
    caplog.set_level(logging.WARNING, "tonnage.db")
    mongo = db.mongo(f"{server.database()}?connect_timeout=0.3")
    server.kill()
    with pytest.raises(MongoAwayError) as caught:
        await mongo.database["things"].find_one()
    assert isinstance(caught.value.__cause__, ServerSelectionTimeoutError)
    (line,) = (each.message for each in caplog.records)
    assert "Connect call failed" in line
    assert "Topology" not in line
    assert "timeouts" not in line
    await _close(server, mongo)
