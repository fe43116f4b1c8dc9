"""The place of the soak: the demonstration in a memory cgroup, its databases and Redis outside."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
from tests.examples.databases import migrate
from tests.support.cgroup import MemoryBox
from tests.support.mongo import MongoServer
from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer
from tests.support.server import ROOT, Running

from benchmarks.soaking.stored import Databases

APP = "benchmarks.soaking.app:app"
DEMO = ROOT / "examples" / "demo"
_WITH_POSTGRES = ("fitflix", "lvlup", "fibuca")


@dataclass(frozen=True, slots=True)
class Place:
    """All that runs, and where things are kept."""

    server: Running
    box: MemoryBox
    postgres: PostgresServer
    redis: RedisServer
    databases: Databases


@contextlib.contextmanager
def place(limit_bytes: int, model: str) -> Iterator[Place]:
    """Start everything, in order, and end it again; Fibuca uses *model*."""
    with (
        # On a disk: purchases are spooled there, and /tmp may be in memory.
        tempfile.TemporaryDirectory(prefix="tonnage-soak-", dir="/var/tmp") as directory,
        PostgresServer() as postgres,
        RedisServer() as redis,
        MongoServer() as mongo,
        MemoryBox(limit_bytes) as box,
    ):
        data = Path(directory)
        urls = {name: asyncio.run(_database(postgres.url, name)) for name in _WITH_POSTGRES}
        with ThreadPoolExecutor() as pool:
            migrations = [
                pool.submit(migrate, name, {"DATABASE_URL": url}) for name, url in urls.items()
            ]
        for each in migrations:
            each.result()
        databases = Databases(
            **urls, eventide=mongo.database(), portraits=data / "fibuca" / "photos"
        )
        environment = {
            **{f"{name.upper()}_DATABASE_URL": url for name, url in urls.items()},
            "MONGO_URL": databases.eventide,
            "REDIS_URL": redis.url,
            "DEMO_DATA": directory,
            "LVLUP_DATA": f"{data / 'lvlup'}",
            "FIBUCA_DATA": f"{data / 'fibuca'}",
            "FIBUCA_MODEL": model,
        }
        # People come from behind a proxy, so that each has an address, and limits, of his or hers.
        with Running(APP, "--proxy-hops", "1", box=box, env=environment, cwd=DEMO) as server:
            yield Place(server, box, postgres, redis, databases)


async def _database(url: str, name: str) -> str:
    """Make a database beside the one at *url*, and return where it is."""
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return url.replace("@/postgres?", f"@/{name}?")
