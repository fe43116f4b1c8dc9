"""What PyMongo's client is told; each line is really handed to it, and asked back."""

from __future__ import annotations

from typing import Any

import pytest
from tests.db.drivers_settings import options

from tonnage import db
from tonnage.db.drivers.pymongo import arguments
from tonnage.db.urls import read_url
from tonnage.errors import ConfigError

pymongo = pytest.importorskip("pymongo")


def client(text: str, limit: int = 5, **changed: Any) -> Any:
    """Return PyMongo's own client; it connects to nothing before it is used."""
    return pymongo.AsyncMongoClient(**arguments(read_url(text), options(**changed), limit))


async def test_without_parameters_everything_has_a_bound() -> None:
    """PyMongo alone has 100 connections, kept for ever, and no end of waiting for one."""
    made = client(
        "mongodb://u:p@db/shop", connection_idle_seconds=300, statement_timeout_seconds=30
    )
    pool = made.options.pool_options
    assert (pool.max_pool_size, pool.min_pool_size) == (5, 0)
    assert (pool.wait_queue_timeout, pool.connect_timeout) == (20, 10)
    assert (pool.socket_timeout, pool.max_idle_time_seconds) == (35, 300)
    assert made.options.server_selection_timeout == 10
    await made.close()


@pytest.mark.parametrize(
    "parameters",
    [
        "connection_limit=7&pool_timeout=1.5&connect_timeout=2&socket_timeout=0.25"
        "&max_idle_connection_lifetime=60",
        "maxPoolSize=7&waitQueueTimeoutMS=1500&connectTimeoutMS=2000&socketTimeoutMS=250"
        "&maxIdleTimeMS=60000",
    ],
)
async def test_prismas_names_and_mongodbs_say_the_same(parameters: str) -> None:
    """What the URL says goes before what the options say."""
    url = read_url(f"mongodb://db/shop?{parameters}")
    assert url.pool.connection_limit == 7
    made = client(f"mongodb://db/shop?{parameters}", limit=7)
    pool = made.options.pool_options
    assert (pool.max_pool_size, pool.wait_queue_timeout) == (7, 1.5)
    assert (pool.connect_timeout, made.options.server_selection_timeout) == (2, 2)
    assert (pool.socket_timeout, pool.max_idle_time_seconds) == (0.25, 60)
    await made.close()


async def test_for_ever_is_not_at_once() -> None:
    """PyMongo refuses 0, and warns; so nothing is said."""
    made = client("mongodb://db/?pool_timeout=0&max_idle_connection_lifetime=0&socket_timeout=0")
    pool = made.options.pool_options
    assert (pool.wait_queue_timeout, pool.max_idle_time_seconds) == (None, None)
    assert pool.socket_timeout is None
    await made.close()


async def test_the_longest_times_are_those_that_pymongo_takes() -> None:
    """Which refuses what a URL may say at most: 30 days."""
    longest = "&".join(f"{name}=2592000" for name in ("pool_timeout", "connect_timeout"))
    made = client(f"mongodb://db/?{longest}&max_idle_connection_lifetime=2592000")
    pool = made.options.pool_options
    assert min(pool.wait_queue_timeout, pool.connect_timeout) > 11 * 24 * 3600
    await made.close()


async def test_mongodbs_own_options_go_on_to_it() -> None:
    """Also those that there is a usual value for."""
    made = client(
        "mongodb://u:p%40ss@a,b/shop?replicaSet=r&retryWrites=false&serverSelectionTimeoutMS=700"
        "&minPoolSize=1&maxConnecting=1&authSource=admin&readPreference=secondaryPreferred"
    )
    assert made.options.replica_set_name == "r"
    assert made.options.retry_writes is False
    assert made.options.server_selection_timeout == 0.7
    assert (made.options.pool_options.min_pool_size, made.options.pool_options.max_connecting) == (
        *(1, 1),
    )
    await made.close()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"max_documents": -1}, "max_documents is a whole number, 1 at least"),
        ({"max_bytes": "32M"}, "max_bytes is a whole number"),
        ({"guard": "perhaps"}, "guard is stop, warn or off"),
        ({"slow_seconds": -1}, "slow_seconds is a number, 0 at least"),
    ],
)
def test_bounds_without_sense_are_refused(said: dict[str, Any], why: str) -> None:
    """As of pools and engines."""
    with pytest.raises(ConfigError, match=why):
        db.mongo("mongodb://db/shop", **said)
