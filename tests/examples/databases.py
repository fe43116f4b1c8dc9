"""Databases for the reference backends: an empty one each, brought up to date as in a deploy."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from sqlalchemy import create_engine
from tests.support.postgres import postgres_urls
from tests.support.server import ROOT, clean_environment

Kind = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")


@contextmanager
def database(
    kind: Kind, example: str, directory: Path, env: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Yield the URL of a database for *example*; a file in *directory*, or a server's.

    What the example makes there depends on *env*, as what it does later.
    """
    if kind == "sqlite":
        yield sqlite_url(directory)
        return
    with postgres_urls() as make:
        url = make()
        migrate(example, {"DATABASE_URL": url, **(env or {})})
        yield url


def sqlite_url(directory: Path) -> str:
    """Return the URL of a file in *directory*."""
    return f"sqlite:///{directory / 'app.sqlite3'}"


def migrate(example: str, env: Mapping[str, str]) -> None:
    """Do what an example's README says to do before it is started."""
    subprocess.run(
        [sys.executable, "-m", "tonnage", "db", "migrate", f"{example}/migrations"],
        cwd=ROOT / "examples" / example,
        env=clean_environment() | dict(env),
        check=True,
        capture_output=True,
        timeout=60,
    )


def count(url: str, table: str) -> int:
    """Return how many rows a table has."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found: int = connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
    engine.dispose()
    return found


@contextmanager
def counted_connections(url: str) -> Iterator[list[int]]:
    """Yield how many connections PostgreSQL has besides our own, counted again and again."""
    is_over, counted = threading.Event(), list[int]()
    watching = threading.Thread(target=lambda: asyncio.run(_count(url, is_over, counted)))
    watching.start()
    try:
        yield counted
    finally:
        is_over.set()
        watching.join()


async def _count(url: str, is_over: threading.Event, counted: list[int]) -> None:
    import asyncpg  # type: ignore[import-untyped]

    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    connection = await asyncpg.connect(url)
    try:
        while not is_over.is_set():
            counted.append(await connection.fetchval(query))
            await asyncio.sleep(0.005)
    finally:
        await connection.close()
