"""``db.mongo()``: when it connects, how many connections it has, and what is told of them."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest
from bson import Decimal128, ObjectId
from tests.support.server import clean_environment
from tests.support.waiting import until

from tonnage import db
from tonnage.budget.connections import CONNECTION_BYTES
from tonnage.db import settings
from tonnage.db.mongodb.client import Mongo
from tonnage.db.mongodb.connection import Census
from tonnage.db.mongodb.named import Collection
from tonnage.db.mongodb.plain import plain
from tonnage.db.pooling.counting import statistics
from tonnage.errors import ConfigError
from tonnage.governor.consumers import registry

real = pytest.mark.real
NOWHERE = "mongodb://127.0.0.1:9/app"


def test_it_costs_nothing_until_it_is_used() -> None:
    """Neither PyMongo is loaded, nor with it SQLAlchemy."""
    code = """
        import sys
        from tonnage import db
        assert "pymongo" not in sys.modules
        mongo = db.mongo("mongodb://127.0.0.1:9/app")
        events = mongo.database["events"]
        assert "pymongo" in sys.modules
        assert "sqlalchemy" not in sys.modules
        import threading
        assert threading.active_count() == 1
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    subprocess.run(command, check=True, env=clean_environment())


def test_the_url_is_that_of_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the pool that MONGO_POOL_SIZE allows; a URL's own limit goes first."""
    monkeypatch.setenv("MONGO_URL", NOWHERE)
    monkeypatch.setenv("MONGO_POOL_SIZE", "4")
    assert db.mongo().statistics().limit == 4
    assert db.mongo(f"{NOWHERE}?maxPoolSize=6").statistics().limit == 6
    monkeypatch.delenv("MONGO_URL")
    with pytest.raises(ConfigError, match="MONGO_URL"):
        db.mongo()


async def test_pools_without_a_limit_share() -> None:
    """What the worker may have, which is not known before there are workers."""
    gc.collect()
    made = [db.mongo(NOWHERE, name=name) for name in "ab"]
    settings.use_share(7)
    try:
        # To look at it decides nothing; their first use does.
        assert [each.statistics().limit for each in made] == [3, 3]
        assert [each.max_bytes for each in made] == [3 * CONNECTION_BYTES] * 2
        sizes = [each.client.options.pool_options.max_pool_size for each in made]
        assert sorted(sizes) == [3, 4]
        assert [each.statistics().limit for each in made] == sizes
        for each in made:
            await each.close()
    finally:
        settings.use_share(None)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("mongodb://u:s3cret@h/a", {"readPreference": "nonsense"}),
        ("mongodb://u:s3cret@h/a?x", {}),
        ("mongodb://u:s3cret@h/a?tls=maybe", {}),
        ("mongodb://u:s3cret@h/a?authMechanism=nonsense", {}),
        ("mongodb://u:s3cret@h/a", {"guard": "nonsense"}),
        ("mongodb://u:s3cret@h/a", {"max_bytes": "1M"}),
        ("mongodb://u:s3cret@h/a", {"max_documents": 0}),
    ],
)
def test_what_makes_no_sense_is_refused(url: str, options: dict[str, str]) -> None:
    """Without the password."""
    with pytest.raises(ConfigError) as caught:
        db.mongo(url, **options)  # type: ignore[arg-type]
    assert "s3cret" not in str(caught.value)


def test_no_password_is_shown() -> None:
    """Neither by the pool, nor by what it makes."""
    mongo = db.mongo("mongodb://u:s3cret@127.0.0.1:9/app?password=s3cret".partition("?")[0])
    shown = f"{mongo!r} {mongo.database!r} {mongo.database['x']!r} {mongo.statistics()!r}"
    assert "s3cret" not in shown
    assert repr(mongo) == "Mongo('mongodb://u:***@127.0.0.1:9/app')"


def test_the_database_may_be_named_elsewhere() -> None:
    """But then it has to be."""
    mongo = db.mongo("mongodb://127.0.0.1:9")
    assert mongo["app"].name == "app"
    with pytest.raises(ConfigError, match="names no database"):
        _ = mongo.database


@real
async def test_there_are_never_more_connections(mongo: Mongo, events: Collection) -> None:
    """However many ask at once; the server says so too."""
    asked = (events.find({"kind": n % 7}).to_list() for n in range(200))
    assert sum(len(each) for each in await asyncio.gather(*asked)) == sum(
        143 if n % 7 < 6 else 142 for n in range(200)
    )
    now = mongo.statistics()
    assert (now.limit, now.open, now.in_use, now.waiting) == (3, 3, 0, 0)
    assert now.name in statistics()
    await until(lambda: (mongo.statistics().server_connections or 0) >= 1)


@real
async def test_connections_come_and_go_in_the_log(
    new_url: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    """With the pool's name and how many there are."""
    caplog.set_level(logging.INFO, "tonnage.db")
    mongo = db.mongo(new_url(), name="orders")
    await mongo.database["x"].find_one()
    await mongo.close()
    assert caplog.records[0].message.startswith("database connection opened: orders (mongodb://")
    assert mongo.statistics().closed_total == 1


@real
async def test_unused_connections_give_way(mongo: Mongo, events: Collection) -> None:
    """When memory runs short; they are opened again when they are needed."""
    await asyncio.gather(*(events.find_one() for _ in range(20)))
    assert mongo.max_bytes == 3 * CONNECTION_BYTES
    assert mongo.used_bytes == 3 * CONNECTION_BYTES
    assert 3 * CONNECTION_BYTES in [use.used_bytes for use in registry.uses()]
    assert mongo.shrink(3 * CONNECTION_BYTES) == 0
    assert mongo.shrink(0) == 3 * CONNECTION_BYTES
    await until(lambda: mongo.statistics().open == 0)
    assert mongo.shrink(0) == 0
    assert await events.find_one({"_id": 3}) is not None
    # Where no event loop runs, nothing can be closed.
    assert await asyncio.to_thread(mongo.shrink, 0) == 0


@real
async def test_slow_commands_are_logged(
    new_url: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    """With how long, how much, where and what; without any value."""
    caplog.set_level(logging.WARNING, "tonnage.db")
    mongo = db.mongo(new_url(), slow_seconds=1e-9)
    things = mongo.database["things"]
    await things.insert_one({"name": "secret"})
    await things.find({"name": "secret"}).to_list()
    await things.update_one({"name": "secret"}, {"$set": {"name": "secret"}})
    await mongo.close()
    said = [each.message for each in caplog.records if "things" in each.message]
    assert len(said) == 3
    assert "1 rows" in said[1]
    assert "test_mongo_client.py:" in said[1]
    assert said[1].endswith(f"find {things.full_name} {{name}}")
    assert not any("secret" in line for line in said)


@real
def test_a_forked_process_has_its_own(new_url: Callable[[], str]) -> None:
    """Made at import, used before the fork and after it: nothing is shared, nobody is warned."""
    code = """
        import asyncio, os, sys
        from tonnage import db
        mongo = db.mongo(sys.argv[1])
        things = mongo.database["things"]

        async def work():
            await things.insert_one({"by": os.getpid()})
            return await things.count_documents({})

        async def main():
            await work()
            pid = os.fork()
            if pid == 0:
                # A loop runs in the parent; the child begins one of its own.
                asyncio.events._set_running_loop(None)
                asyncio.set_event_loop(None)
                # Nothing of the parent's is counted.
                assert mongo.statistics().open == 0
                assert asyncio.run(work()) == 2
                assert mongo.statistics().open == 0
                os._exit(0)
            _, status = os.waitpid(pid, 0)
            assert status == 0, status
            assert await things.count_documents({}) == 2

        asyncio.run(main())
        print("fine")
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), new_url()]
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, env=clean_environment(), timeout=30
    )
    assert (ended.stdout, ended.stderr) == ("fine\n", "")


def test_documents_become_json() -> None:
    """Wherever in them BSON's own types are."""
    number = ObjectId()
    document = {"_id": number, "of": [{"id": number, "price": Decimal128("1.50")}], "raw": b"x"}
    made = plain([document])
    assert json.loads(json.dumps(made)) == [
        {"_id": str(number), "of": [{"id": str(number), "price": "1.50"}], "raw": "eA=="}
    ]
    assert document["_id"] is number


@real
async def test_the_server_is_asked_now_and_then(mongo: Mongo, events: Collection) -> None:
    """Not for each connection; and where it does not tell, that is no error."""
    now_seconds = 0.0
    census = Census(lambda: mongo.client, lambda: now_seconds)
    census.look()
    await until(lambda: census.connections is not None)
    census.connections = -1
    census.look()
    await asyncio.sleep(0.05)
    assert census.connections == -1
    now_seconds = 31.0
    census.look()
    await until(lambda: census.connections != -1)
